package journal_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

func TestFullDiskBreaksTheSessionAndClaimsNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	j := open(t, path, journal.MaxBytes(40*4096))
	s := create(t, j, testPlan(t, 10), nil)
	must(t, s.Lease(id(0)))
	var err error
	recorded := 0
	for err == nil {
		if err = s.Note(journal.Paused, 0, strings.Repeat("x", 3000)); err == nil {
			recorded++
		}
	}
	broken, ok := errors.AsType[*journal.WriteError](err)
	if !ok || broken.Run != s.ID() || !strings.Contains(err.Error(), "full") || len(hint.Of(err)) == 0 {
		t.Fatalf("error: %v, hints %q", err, hint.Of(err))
	}
	if err := s.Begin(id(0), 1); err == nil {
		t.Error("a broken session took another change")
	}
	must(t, s.Close())
	events, err := open(t, path).Events(t.Context(), s.ID(), 0)
	must(t, err)
	if len(events) != recorded+1 {
		t.Errorf("%d events on disk, %d acknowledged", len(events), recorded+1)
	}
}

// A crash may leave any prefix of the WAL. Whatever is left must open, be sound, and hold a prefix of the history.
func TestTruncatedWAL(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "j.db")
	j := open(t, path)
	s := create(t, j, testPlan(t, 5), nil)
	for i := range 5 {
		must(t, s.Lease(id(i)), s.Begin(id(i), 1), s.Finish(id(i), journal.End{Outcome: journal.Clean}))
	}
	wal, err := os.ReadFile(path + "-wal")
	must(t, err)
	main, err := os.ReadFile(path)
	must(t, err)
	if len(wal) < 10*4096 {
		t.Fatalf("the WAL has %d bytes only, nothing to truncate", len(wal))
	}
	before := -1
	for cut := 0; cut <= len(wal); cut += 3001 {
		at := filepath.Join(dir, fmt.Sprintf("cut%d", cut), "j.db")
		must(t, os.Mkdir(filepath.Dir(at), 0o700), os.WriteFile(at, main, 0o600), os.WriteFile(at+"-wal", wal[:cut], 0o600))
		events := readCut(t, at, s.ID())
		if events < before {
			t.Fatalf("cut at %d: %d events, a shorter WAL had %d", cut, events, before)
		}
		before = events
	}
	if before < 12 {
		t.Errorf("nearly the whole WAL gave %d events only", before)
	}
}

func readCut(t *testing.T, path, run string) int {
	j, err := journal.Open(t.Context(), path)
	must(t, err)
	defer j.Close()
	machines, err := j.Machines(t.Context(), run)
	if isNotFound(err) {
		return 0
	}
	must(t, err)
	events, err := j.Events(t.Context(), run, 0)
	must(t, err)
	done, ended := 0, 0
	for _, e := range events {
		if e.State == journal.Done {
			ended++
		}
	}
	for _, m := range machines {
		if m.State == journal.Done && m.Wave > 0 {
			done++
		}
	}
	if done != ended {
		t.Fatalf("%d machines done, %d events say so", done, ended)
	}
	return len(events)
}

func TestForeignAndNewerFilesAreRefused(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	must(t, os.WriteFile(garbage, []byte(strings.Repeat("this is no database ", 300)), 0o600))
	_, err := journal.Open(ctx, garbage)
	if want := "the file is damaged or no journal; move it away and give the journal a file of its own"; err == nil || strings.Join(hint.Of(err), "") != want || !strings.HasPrefix(err.Error(), `open journal "`) {
		t.Errorf("garbage: %v %q", err, hint.Of(err))
	}
	for name, stmt := range map[string]string{"foreign": "CREATE TABLE accounts (x)", "newer": "PRAGMA application_id = 0x666d6a31; PRAGMA user_version = 99"} {
		path := filepath.Join(dir, name+".db")
		db, err := sql.Open("sqlite", path)
		must(t, err)
		_, err = db.Exec(stmt)
		must(t, err, db.Close())
		before, err := os.ReadFile(path)
		must(t, err)
		if _, err := journal.Open(ctx, path); err == nil || len(hint.Of(err)) == 0 {
			t.Errorf("%s: %v", name, err)
		}
		after := readAll(t, path)
		if name == "foreign" && !slices.Equal(before[100:], after[100:]) {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

func readAll(t *testing.T, path string) []byte {
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	data, err := io.ReadAll(f)
	must(t, err)
	return data
}

// Where the whole place is gone, what the journal held is kept where temporary files go.
func TestAJournalWhosePlaceIsGoneIsRescuedElsewhere(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not delete a file that is open")
	}
	elsewhere, parent := t.TempDir(), filepath.Join(t.TempDir(), "volume")
	t.Setenv("TMPDIR", elsewhere)
	j := open(t, filepath.Join(parent, "state", "journal.db"))
	s, err := j.Create(t.Context(), testPlan(t, 1), nil)
	must(t, err, s.Lease(id(0)), os.RemoveAll(parent))
	err = s.Close()
	copies, globbed := filepath.Glob(filepath.Join(elsewhere, "fleetmend-rescued-*", "journal.db"))
	must(t, globbed)
	if !errors.Is(err, journal.ErrGone) || len(copies) != 1 || !regexp.MustCompile(`rescued-[0-9]+$`).MatchString(filepath.Dir(copies[0])) || !strings.Contains(err.Error(), filepath.Dir(copies[0])) {
		t.Fatalf("%v %v", err, copies)
	}
	if machines, err := open(t, copies[0]).Machines(t.Context(), s.ID()); err != nil || machines[0].State != journal.Leased {
		t.Errorf("%+v %v", machines, err)
	}
}
