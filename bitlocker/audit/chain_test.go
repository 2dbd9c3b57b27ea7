package audit

import (
	"encoding/hex"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The hash of an entry is a format that outlives versions; each field counts, and so does where one ends and the next begins.
func TestSum(t *testing.T) {
	e := Entry{Seq: 7, Time: time.Date(2024, 7, 19, 4, 9, 0, 0, time.UTC), Action: Reveal, OSUser: "ops", Identity: "ops@fleet.test", Host: "JUMP1",
		Machine: "PC-1", KeyID: "4C4B6D8A", Source: "ad:fleet.test", Reason: "INC-1", Detail: "d", Previous: strings.Repeat("ab", 32)}
	hash := func(e Entry) string { s := e.sum(); return hex.EncodeToString(s[:]) }
	if got, want := hash(e), "29a1145506baabf926a61031c657c8a855fea642362f1fe2ddbd35f52a481f87"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	seen := map[string]string{hash(e): "itself"}
	for name, change := range map[string]func(*Entry){
		"seq": func(e *Entry) { e.Seq++ }, "time": func(e *Entry) { e.Time = e.Time.Add(1) }, "action": func(e *Entry) { e.Action = Sheet }, "user": func(e *Entry) { e.OSUser += "x" },
		"identity": func(e *Entry) { e.Identity = "" }, "host": func(e *Entry) { e.Host = "" }, "machine": func(e *Entry) { e.Machine = "PC-2" }, "key": func(e *Entry) { e.KeyID = "" },
		"source": func(e *Entry) { e.Source = "x" }, "reason": func(e *Entry) { e.Reason = "x" }, "detail": func(e *Entry) { e.Detail = "" }, "run": func(e *Entry) { e.Run = "r" },
		"previous": func(e *Entry) { e.Previous = strings.Repeat("ac", 32) },
		// What stands at the border of two fields may not be moved over it.
		"machine to key":   func(e *Entry) { e.Machine, e.KeyID = "PC-14C4B6D8A", "" },
		"key to machine":   func(e *Entry) { e.Machine, e.KeyID = "PC-", "14C4B6D8A" },
		"reason to detail": func(e *Entry) { e.Reason, e.Detail = "INC-", "1d" },
		"detail to run":    func(e *Entry) { e.Detail, e.Run = "", "d" },
	} {
		changed := e
		change(&changed)
		sum := hash(changed)
		if other, ok := seen[sum]; ok {
			t.Errorf("%s has the hash of %s", name, other)
		}
		seen[sum] = name
	}
}

// An entry that was rewritten with a right hash of its own is found by the one that follows it, which covers the old one.
func TestVerifyFindsAnEntryThatDoesNotFollow(t *testing.T) {
	l, err := Open(t.Context(), filepath.Join(t.TempDir(), "audit.db"), Operator{OSUser: "ops"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 4 {
		if _, err := l.Append(t.Context(), Entry{Action: Reveal, Machine: "PC-1", Reason: "true"}); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := l.List(t.Context(), Filter{})
	if err != nil {
		t.Fatal(err)
	}
	forged := entries[1]
	forged.Reason = "forged"
	sum := forged.sum()
	if _, err := l.db.Exec("DROP TRIGGER entries_keep_content"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.db.Exec("UPDATE entries SET reason = ?, hash = ? WHERE seq = 2", forged.Reason, sum[:]); err != nil {
		t.Fatal(err)
	}
	_, err = l.Verify(t.Context())
	var broken *BrokenError
	if !errors.As(err, &broken) || broken.Seq != 3 || !strings.Contains(broken.Reason, "does not follow") {
		t.Errorf("%v", err)
	}
}

// An entry behind the head that has a right hash of its own and follows another one is not continued.
func TestAppendFindsAnEntryThatDoesNotFollow(t *testing.T) {
	l, err := Open(t.Context(), filepath.Join(t.TempDir(), "audit.db"), Operator{OSUser: "ops"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	written, err := l.Append(t.Context(), Entry{Action: Reveal, Reason: "1"}, Entry{Action: Reveal, Reason: "2"})
	if err != nil {
		t.Fatal(err)
	}
	planted := Entry{Seq: 3, Time: written[1].Time, Action: Reveal, OSUser: "ops", Previous: written[0].Hash}
	sum := planted.sum()
	previous, err := hex.DecodeString(planted.Previous)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.db.Exec("INSERT INTO entries ("+columns+") VALUES (?,?,?,?,'','','','','','','','',?,?)", planted.Seq, planted.Time.Format(time.RFC3339Nano), planted.Action, planted.OSUser, previous, sum[:]); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), Entry{Action: Reveal}); err != nil || len(l.Broken()) != 1 {
		t.Errorf("%v, broken: %q", err, l.Broken())
	}
}
