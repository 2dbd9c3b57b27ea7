package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// What lies where nothing can be written is read whole, its log included, and nothing is changed.
func TestEvidenceIsReadAndNotChanged(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "j.db")
	j, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	in := plan.Input{Options: plan.DefaultOptions(), Now: time.Now(), Entries: []plan.Entry{{Target: route.Target{ID: "m1", Name: "PC"}, Route: "fake"}}}
	p, err := plan.New(in)
	if err != nil {
		t.Fatal(err)
	}
	s, err := j.Create(ctx, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Lease("m1"); err != nil { // all of it lies in the log still
		t.Fatal(err)
	}
	before := contents(t, path)
	defer func(was func(string) error) { makeFile = was }(makeFile)
	makeFile = func(path string) error { return &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission} }
	t.Setenv("TMPDIR", t.TempDir())
	seen, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	machines, err := seen.Machines(ctx, s.ID())
	if err != nil || len(machines) != 1 || machines[0].State != Leased {
		t.Fatalf("%+v %v", machines, err)
	}
	if run, err := seen.Run(ctx, s.ID()); err != nil || run.Idle() {
		t.Errorf("a run at work: %+v %v", run, err)
	}
	_, begun := seen.Create(ctx, p, nil)
	_, resumed := seen.Resume(ctx, s.ID(), nil)
	for what, err := range map[string]error{
		"run": begun, "resume": resumed, "wish": seen.Control(ctx, s.ID(), Pause, "eve"), "rebuild": seen.RebuildCases(ctx),
		"incident": seen.OpenIncident(ctx, Incident{ID: "x"}),
	} {
		if !errors.Is(err, ErrReadOnly) || len(hint.Of(err)) == 0 {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := seen.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if !bytes.Equal(before, contents(t, path)) {
		t.Error("the journal was changed")
	}
	if err := errors.Join(s.Close(), j.Close()); err != nil {
		t.Error(err)
	}
	none, err := Open(ctx, path+"none")
	if err != nil {
		t.Fatal(err)
	}
	if runs, err := none.Runs(ctx); err != nil || len(runs) != 0 {
		t.Errorf("no journal where none can be made: %v %v", runs, err)
	}
	if err := none.Close(); err != nil {
		t.Error(err)
	}
}

func TestAJournalOnANetworkIsRefused(t *testing.T) {
	defer func(was func(string) error) { onThisComputer = was }(onThisComputer)
	path, refused := filepath.Join(t.TempDir(), "j.db"), errors.New("NFS")
	onThisComputer = func(dir string) error {
		if dir != filepath.Dir(path) {
			t.Errorf("looked at %s", dir)
		}
		return refused
	}
	if _, err := Open(t.Context(), path); !errors.Is(err, refused) {
		t.Fatal(err)
	}
}

func contents(t *testing.T, path string) []byte {
	t.Helper()
	var all []byte
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		all = fmt.Appendf(all, "%d:%s", len(data), data)
	}
	return all
}
