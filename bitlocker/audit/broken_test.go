package audit_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/bitlocker/audit"
)

// A broken log is never continued: it stays byte for byte as to its entries, and a new one begins that says so.
func TestABrokenLogIsNotContinued(t *testing.T) {
	replaced := func(n int) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			t.Helper()
			other := filepath.Join(t.TempDir(), "audit.db")
			l := fill(t, other, n)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(other)
			if err := errors.Join(err, os.WriteFile(path, data, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		harm func(t *testing.T, path string)
		says string
		last int64 // of the broken log
	}{
		"cut tail":                       {func(t *testing.T, path string) { raw(t, path, "DELETE FROM entries WHERE seq = 4") }, "its head says 4", 3},
		"all gone":                       {func(t *testing.T, path string) { raw(t, path, "DELETE FROM entries") }, "its head says 4", 0},
		"another log of the same length": {replaced(4), "the log was replaced", 4},
		"another log that is longer":     {replaced(6), "the log was replaced", 6},
		"last entry rewritten":           {func(t *testing.T, path string) { raw(t, path, "UPDATE entries SET reason = 'x' WHERE seq = 4") }, "not what was written", 4},
		"entry put in behind the head": {func(t *testing.T, path string) {
			raw(t, path, "INSERT INTO entries SELECT 5, time, action, os_user, identity, host, machine, key_id, source, reason, detail, previous, hash, run FROM entries WHERE seq = 4")
		}, "not what was written", 5},
		"gap behind the head": {func(t *testing.T, path string) {
			raw(t, path, "INSERT INTO entries SELECT 6, time, action, os_user, identity, host, machine, key_id, source, reason, detail, previous, hash, run FROM entries WHERE seq = 4")
		}, "entry 5 is missing", 6},
		"head gone": {func(t *testing.T, path string) {
			if err := os.Remove(path + ".head"); err != nil {
				t.Fatal(err)
			}
		}, "head is missing", 4},
		"head unreadable": {func(t *testing.T, path string) {
			if err := os.WriteFile(path+".head", []byte("4:what"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "head cannot be read", 4},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.db")
			if err := fill(t, path, 4).Close(); err != nil {
				t.Fatal(err)
			}
			c.harm(t, path)
			kept, _ := os.ReadFile(path + ".head")
			l := open(t, path)
			var told []string
			l.Tell(func(text string) { told = append(told, text) })
			if got, err := l.Append(t.Context(), audit.Entry{Action: audit.Reveal, Machine: "PC-99"}); err != nil || len(got) != 1 || got[0].Seq != 2 {
				t.Fatalf("%+v, %v", got, err)
			}
			if len(told) != 1 || !strings.Contains(told[0], c.says) || !strings.Contains(told[0], "audit-2.db") {
				t.Errorf("told %q", told)
			}
			entries, err := l.List(t.Context(), audit.Filter{})
			if err != nil || len(entries) != 2 || entries[0].Action != audit.Begin || !strings.Contains(entries[0].Detail, "audit.db is broken at entry") || !strings.Contains(entries[0].Detail, c.says) || entries[1].Machine != "PC-99" {
				t.Errorf("%+v, %v", entries, err)
			}
			if _, err := l.Verify(t.Context()); err != nil {
				t.Errorf("the new log: %v", err)
			}
			// The old one is as it was found, and is told of for ever.
			if after, _ := os.ReadFile(path + ".head"); string(after) != string(kept) {
				t.Errorf("head of the broken log: %q, was %q", after, kept)
			}
			again := open(t, path)
			if broken := again.Broken(); len(broken) != 1 || broken[0] != path {
				t.Errorf("broken logs: %q", broken)
			}
			if _, err := again.VerifyEarlier(t.Context(), path); err == nil {
				t.Error("the broken log is called sound")
			}
			if got, err := again.Append(t.Context(), audit.Entry{Action: audit.Reveal}); err != nil || got[0].Seq != 3 {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// Two processes that find the log broken begin one new log, and a second break begins a third.
func TestOneSuccessor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.db")
	a := fill(t, path, 4)
	b := open(t, path)
	raw(t, path, "DELETE FROM entries WHERE seq = 4")
	for _, l := range []*audit.Log{a, b} {
		if _, err := l.Append(t.Context(), audit.Entry{Action: audit.Reveal}); err != nil {
			t.Fatal(err)
		}
	}
	if head, err := b.Verify(t.Context()); err != nil || head.Seq != 3 || len(b.Broken()) != 1 {
		t.Fatalf("%v, %v, %q", head, err, b.Broken())
	}
	second := filepath.Join(filepath.Dir(path), "audit-2.db")
	raw(t, second, "DELETE FROM entries WHERE seq = 3")
	if _, err := a.Append(t.Context(), audit.Entry{Action: audit.Reveal}); err != nil {
		t.Fatal(err)
	}
	if broken := open(t, path).Broken(); len(broken) != 2 || broken[0] != path || broken[1] != second {
		t.Errorf("%q", broken)
	}
}

// A head that cannot be read at the moment is no broken log: nothing is written, and later it goes on.
func TestHeadThatCannotBeReadNow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.db")
	l := fill(t, path, 4)
	if err := errors.Join(os.Rename(path+".head", path+".away"), os.Mkdir(path+".head", 0o700)); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Append(t.Context(), audit.Entry{Action: audit.Reveal}); err == nil {
		t.Errorf("written without its head: %+v", got)
	}
	if err := errors.Join(os.Remove(path+".head"), os.Rename(path+".away", path+".head")); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Append(t.Context(), audit.Entry{Action: audit.Reveal}); err != nil || got[0].Seq != 5 || len(l.Broken()) != 0 {
		t.Errorf("%+v, %v, broken %q", got, err, l.Broken())
	}
}

// A process that ended between an entry and its head leaves a log that goes on.
func TestALaggingHeadIsNoBreak(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.db")
	l := fill(t, path, 3)
	old, err := os.ReadFile(path + ".head")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := l.Append(t.Context(), audit.Entry{Action: audit.Reveal}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path+".head", old, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Append(t.Context(), audit.Entry{Action: audit.Reveal}); err != nil || got[0].Seq != 7 || len(l.Broken()) != 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := l.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAppendNew(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "audit.db"))
	one := audit.Entry{Action: audit.Rotate, Run: "20261129-1", Machine: "PC-1", KeyID: "A", Detail: "replaced by B"}
	two := one
	two.KeyID = "C"
	elsewhere := one
	elsewhere.Run = "20261129-2"
	if got, err := l.AppendNew(t.Context(), one, one); err != nil || len(got) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	other := one
	other.Detail = "failed: at the second try"
	before := audit.Entry{Action: audit.Rotate, Run: "20240101-0", Machine: "PC-9", KeyID: "A", Detail: "fixed: replaced by B"}
	old := before
	old.Run, old.Reason = "", "run 20240101-0"
	if _, err := l.Append(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if got, err := l.AppendNew(t.Context(), one, before, other); err != nil || len(got) != 1 || got[0].Detail != other.Detail {
		t.Fatalf("%+v, %v", got, err)
	}
	if got, err := l.AppendNew(t.Context(), one, two, elsewhere); err != nil || len(got) != 2 || got[0].KeyID != "C" || got[1].Run != "20261129-2" {
		t.Fatalf("%+v, %v", got, err)
	}
	if got, err := l.List(t.Context(), audit.Filter{Run: "20261129-1"}); err != nil || len(got) != 3 || got[0].Detail != "replaced by B" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := l.AppendNew(t.Context(), audit.Entry{Action: audit.Rotate}); err == nil {
		t.Error("an entry without a run was taken")
	}
	if head, err := l.Verify(t.Context()); err != nil || head.Seq != 5 {
		t.Errorf("%v, %v", head, err)
	}
}

// Entries that were written before Run was there keep their hash: they verify.
func TestLogOfSchema1IsBroughtUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.db")
	if err := fill(t, path, 3).Close(); err != nil {
		t.Fatal(err)
	}
	raw(t, path, "DROP INDEX entries_run", "ALTER TABLE entries DROP COLUMN run", "PRAGMA user_version = 1")
	l := open(t, path)
	if head, err := l.Verify(t.Context()); err != nil || head.Seq != 3 {
		t.Errorf("%v, %v", head, err)
	}
}
