package audit_test

import (
	"bytes"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker/audit"
)

func open(t *testing.T, path string) *audit.Log {
	t.Helper()
	l, err := audit.Open(t.Context(), path, audit.Operator{OSUser: "ops", Identity: "ops@fleet.test", Host: "JUMP1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func fill(t *testing.T, path string, n int) *audit.Log {
	t.Helper()
	l := open(t, path)
	for i := range n {
		if _, err := l.Append(t.Context(), audit.Entry{Action: audit.Reveal, Machine: fmt.Sprintf("PC-%02d", i), KeyID: "4C4B6D8A-1F2E-4D3C-9B8A-0123456789AB", Source: "ad:fleet.test", Reason: "ticket 12\nand more"}); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// raw opens the file behind the log's back and takes off what protects it.
func raw(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range append([]string{"DROP TRIGGER entries_keep_content", "DROP TRIGGER entries_keep_rows", "DROP TRIGGER entries_grow"}, statements...) {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func TestAppendListExport(t *testing.T) {
	l := fill(t, filepath.Join(t.TempDir(), "audit.db"), 5)
	head, err := l.Verify(t.Context())
	if err != nil || head.Seq != 5 {
		t.Fatalf("%v, %v", head, err)
	}
	if back, err := audit.ParseHead(head.String()); err != nil || back != head {
		t.Errorf("head %v, %v", back, err)
	}
	got, err := l.List(t.Context(), audit.Filter{Machine: "pc-03"})
	if err != nil || len(got) != 1 || got[0].Reason != "ticket 12 and more" || got[0].OSUser != "ops" || got[0].Host != "JUMP1" || time.Since(got[0].Time) > time.Hour {
		t.Errorf("%+v, %v", got, err)
	}
	if got, _ := l.List(t.Context(), audit.Filter{KeyID: "4c4b6d8a", Limit: 2}); len(got) != 2 || got[1].Seq != 5 {
		t.Errorf("%+v", got)
	}
	if got, _ := l.List(t.Context(), audit.Filter{Until: time.Now().Add(-time.Hour)}); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	var jsonl, table bytes.Buffer
	if err := errors.Join(l.ExportJSONL(t.Context(), &jsonl, audit.Filter{}), l.ExportCSV(t.Context(), &table, audit.Filter{})); err != nil {
		t.Fatal(err)
	}
	var e audit.Entry
	if err := json.Unmarshal(bytes.SplitN(jsonl.Bytes(), []byte("\n"), 2)[0], &e); err != nil || e.Seq != 1 || len(e.Hash) != 64 {
		t.Errorf("%+v, %v", e, err)
	}
	rows, err := csv.NewReader(&table).ReadAll()
	if err != nil || len(rows) != 6 || rows[5][12] != head.Hash {
		t.Errorf("%v, %v", rows, err)
	}
}

func TestTriggersRefuse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.db")
	fill(t, path, 3)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range []string{
		"UPDATE entries SET reason = 'x' WHERE seq = 2", "DELETE FROM entries WHERE seq = 3", "DELETE FROM entries",
		"INSERT OR REPLACE INTO entries SELECT 2, time, action, os_user, identity, host, machine, key_id, source, 'x', detail, previous, hash, run FROM entries WHERE seq = 2",
	} {
		if _, err := db.Exec(s); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestVerifyFinds(t *testing.T) {
	for name, c := range map[string]struct {
		statements []string
		seq        int64
		says       string
	}{
		"changed reason":   {[]string{"UPDATE entries SET reason = 'ticket 13' WHERE seq = 4"}, 4, "not what was written"},
		"changed time":     {[]string{"UPDATE entries SET time = replace(time, 'Z', '+00:00') WHERE seq = 4"}, 4, "not what was written"},
		"moved text":       {[]string{"UPDATE entries SET machine = machine || 'x', os_user = substr(os_user, 2) WHERE seq = 2"}, 2, "not what was written"},
		"missing row":      {[]string{"DELETE FROM entries WHERE seq = 3"}, 4, "entries 3 to 3 are missing"},
		"missing first":    {[]string{"DELETE FROM entries WHERE seq = 1"}, 2, "entries 1 to 1 are missing"},
		"reordered":        {[]string{"UPDATE entries SET seq = -1 WHERE seq = 2", "UPDATE entries SET seq = 2 WHERE seq = 3", "UPDATE entries SET seq = 3 WHERE seq = -1"}, 2, "not what was written"},
		"cut tail":         {[]string{"DELETE FROM entries WHERE seq > 4"}, 5, "entry 6 was written"},
		"all gone":         {[]string{"DELETE FROM entries"}, 1, "entry 6 was written"},
		"closed over":      {[]string{"DELETE FROM entries WHERE seq = 3", "UPDATE entries SET seq = seq - 1 WHERE seq > 3"}, 3, "not what was written"},
		"a type that lies": {[]string{"UPDATE entries SET seq = 6, time = x'00ff' WHERE seq = 6"}, 6, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.db")
			l := fill(t, path, 6)
			raw(t, path, c.statements...)
			_, err := l.Verify(t.Context())
			var broken *audit.BrokenError
			if !errors.As(err, &broken) || broken.Seq != c.seq || !strings.Contains(broken.Reason, c.says) {
				t.Fatalf("%v", err)
			}
		})
	}
}

// Every byte of every row, flipped in the file itself, is noticed or leaves the rows as they were.
func TestVerifyFindsAFlippedByteInTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.db")
	l := fill(t, path, 3)
	if err := l.Close(); err != nil { // checkpoints the WAL
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(whole, []byte("PC-01"))
	if at < 0 {
		t.Fatal("the row is not in the file")
	}
	for i := at - 30; i < at+150; i++ {
		bad := bytes.Clone(whole)
		bad[i] ^= 0x01
		dir := t.TempDir()
		flipped := filepath.Join(dir, "audit.db")
		head, err := os.ReadFile(path + ".head")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(flipped, bad, 0o600), os.WriteFile(flipped+".head", head, 0o600)); err != nil {
			t.Fatal(err)
		}
		l, err := audit.Open(t.Context(), flipped, audit.Operator{OSUser: "ops"})
		if err != nil {
			continue // noticed
		}
		if _, err := l.Verify(t.Context()); err == nil {
			t.Errorf("byte %d of the file flipped, and nothing noticed (%q)", i, whole[i-4:i+4])
		}
		l.Close()
	}
}

// A whole new chain, head file included, is found by a head noted elsewhere.
func TestNotedHead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.db")
	noted, err := fill(t, path, 4).Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "audit.db")
	l := fill(t, other, 6)
	if _, err := l.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Verify(t.Context(), noted); err == nil {
		t.Fatal("a rewritten log passed")
	}
	if err := os.Remove(other + ".head"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Verify(t.Context()); err == nil || !strings.Contains(err.Error(), "head is missing") {
		t.Fatalf("%v", err)
	}
}

func TestTwoWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.db")
	var wg sync.WaitGroup
	for range 3 {
		l := open(t, path)
		for range 2 {
			wg.Go(func() {
				for range 10 {
					if _, err := l.Append(t.Context(), audit.Entry{Action: audit.Sheet}, audit.Entry{Action: audit.Sheet}); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	head, err := open(t, path).Verify(t.Context())
	if err != nil || head.Seq != 120 {
		t.Fatalf("%v, %v", head, err)
	}
}
