package bitlocker_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
)

// breaking is a table that ends with an error after some keys.
type breaking struct {
	*fakeSource
	after int
	err   error
}

func (b *breaking) Name() string { return "csv:keys.csv" }

func (b *breaking) Keys(ctx context.Context, since time.Time, emit func(bitlocker.KeyRef) error) error {
	n := 0
	return b.fakeSource.Keys(ctx, since, func(r bitlocker.KeyRef) error {
		if n++; n > b.after {
			return b.err
		}
		return emit(r)
	})
}

func TestTakeIsAllOrNothing(t *testing.T) {
	d, _ := unlocked(t, 0)
	src := &breaking{source(50), 40, errors.New("the stick was pulled out")}
	count := func() bitlocker.Status {
		t.Helper()
		s, err := d.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if _, err := d.Take(t.Context(), src, "", "50 passwords"); err == nil {
		t.Error("taken without a reason")
	}
	if r, err := d.Take(t.Context(), src, "ticket", "50 passwords"); !errors.Is(err, src.err) || r.Added != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if s := count(); s.Refs != 0 || s.Passwords != 0 {
		t.Errorf("a table that broke off left %d keys and %d passwords", s.Refs, s.Passwords)
	}
	src.after, src.passwords[id(7)] = 50, "000000"
	r, err := d.Take(t.Context(), src, "ticket", "50 passwords")
	var bad *bitlocker.PasswordError
	if err != nil || r.Added != 50 || r.Sealed != 49 || len(r.Failed) != 1 || !errors.As(r.Failed[0].Err, &bad) {
		t.Fatalf("%+v, %v", r, err)
	}
	if s := count(); s.Refs != 50 || s.Passwords != 49 || s.Sources[len(s.Sources)-1].Synced.IsZero() {
		t.Errorf("%+v", s)
	}
	if k, err := d.Reveal(t.Context(), id(8), "ticket"); err != nil || !k.Password.Equal(password(8)) {
		t.Errorf("%+v, %v", k, err)
	}
	if r, err := d.Take(t.Context(), src, "ticket", "again"); err != nil || r.Added != 0 || r.Sealed != 49 {
		t.Errorf("again: %+v, %v", r, err)
	}
	entries, err := d.log.List(t.Context(), audit.Filter{Action: audit.Import})
	if err != nil || len(entries) != 3 || entries[2].Detail != "again" || entries[2].Source != "csv:keys.csv" {
		t.Errorf("%+v, %v", entries, err)
	}
	d.Lock()
	if _, err := d.Take(t.Context(), src, "ticket", ""); !errors.Is(err, bitlocker.ErrLocked) {
		t.Errorf("locked: %v", err)
	}
}

// A password that is held is never lost to another file of the same name.
func TestTakeKeepsAnOtherPassword(t *testing.T) {
	d, _ := unlocked(t, 0)
	for _, ref := range []bitlocker.KeyRef{
		{ID: id(1), SourceKey: string(id(1)), Machine: bitlocker.Machine{Name: "PC-1"}},
		{ID: "UNKNOWN-PC-2", SourceKey: "UNKNOWN-PC-2", Machine: bitlocker.Machine{Name: "PC-2", FQDN: "pc-2.old.test"}},
	} {
		held := func() (out []bitlocker.RecoveryKey) {
			t.Helper()
			found, err := d.Find(t.Context(), bitlocker.Query{Host: ref.Machine.Name})
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range found.Matches {
				k, err := d.RevealAll(t.Context(), audit.Reveal, "ticket", m.KeyRef)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, k...)
			}
			return out
		}
		for round, c := range []struct{ password, held, kept int }{{10, 1, 0}, {10, 1, 0}, {11, 2, 1}, {12, 3, 1}, {11, 3, 0}, {10, 3, 0}, {12, 3, 0}} {
			if round == 2 && ref.Machine.FQDN != "" {
				ref.Machine.FQDN = "pc-2.new.test"
			}
			src := &fakeSource{refs: []bitlocker.KeyRef{ref}, passwords: map[bitlocker.KeyID]string{ref.ID: password(c.password).Reveal()}}
			r, err := d.Take(t.Context(), src, "ticket", "")
			if err != nil || r.Sealed != 1 || r.Kept != c.kept || len(r.Failed) != 0 {
				t.Fatalf("%s, round %d: %+v, %v", ref.ID, round, r, err)
			}
			got := held()
			if len(got) != c.held {
				t.Errorf("%s, round %d: %d keys are held: %+v", ref.ID, round, len(got), got)
			}
			for want := 10; want < 10+c.held; want++ {
				if !slices.ContainsFunc(got, func(k bitlocker.RecoveryKey) bool { return k.Password.Equal(password(want)) }) {
					t.Errorf("%s, round %d: password %d is lost", ref.ID, round, want)
				}
			}
		}
		for _, k := range held() {
			if k.Password.Equal(password(10)) && k.Machine.FQDN == "pc-2.new.test" {
				t.Errorf("the older password went to the other machine: %+v", k.KeyRef)
			}
			if k.ID.Known() != ref.ID.Known() || !k.ID.Known() && string(k.ID) != k.SourceKey {
				t.Errorf("%+v", k.KeyRef)
			}
		}
	}
}

// Without a reason no source is asked, and nothing is recorded.
func TestRevealFromNeedsAReason(t *testing.T) {
	d, src := unlocked(t, 1)
	for _, reason := range []string{"", " \t\n"} {
		if k, err := d.RevealFrom(t.Context(), src, refsOf(t, d)[0], reason); err == nil || !k.Password.IsZero() {
			t.Errorf("reason %q: %+v, %v", reason, k, err)
		}
		if _, err := d.Fetch(t.Context(), src, reason, refsOf(t, d)...); err == nil {
			t.Errorf("fetched for reason %q", reason)
		}
	}
	if entries, err := d.log.List(t.Context(), audit.Filter{Action: audit.Reveal}); err != nil || len(entries) != 0 {
		t.Errorf("%+v, %v", entries, err)
	}
}

// What a source refuses later does not hide a password that the vault holds.
func TestARefusalLeavesWhatIsSealed(t *testing.T) {
	d, src := unlocked(t, 3)
	refs := refsOf(t, d)
	if _, err := d.Fetch(t.Context(), src, "ticket", refs...); err != nil {
		t.Fatal(err)
	}
	src.denied[id(0)], src.passwords[id(2)] = true, "111111"
	delete(src.passwords, id(1))
	if r, err := d.Fetch(t.Context(), src, "ticket", refs...); err != nil || r.Denied != 1 || r.Missing != 1 || r.Invalid != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, ref := range refs {
		if _, err := d.RevealFrom(t.Context(), src, ref, "ticket"); err == nil {
			t.Fatalf("%s was given", ref.ID)
		}
	}
	for n := range 3 {
		found, err := d.Find(t.Context(), bitlocker.Query{KeyID: id(n).Prefix()})
		if err != nil || found.Matches[0].State != bitlocker.StateSealed {
			t.Errorf("key %d: %+v, %v", n, found, err)
		}
		if k, err := d.Reveal(t.Context(), id(n), "ticket"); err != nil || !k.Password.Equal(password(n)) {
			t.Errorf("key %d: %+v, %v", n, k, err)
		}
	}
}

// All passwords of a source are read, page by page, once; the next time only those that are not held.
func TestFetchMissing(t *testing.T) {
	const n = 2500 // three pages
	d, src := unlocked(t, n)
	src.denied[id(1500)] = true
	if r, err := d.FetchMissing(t.Context(), src, "drill"); err != nil || r.Sealed != n-1 || r.Denied != 1 || len(r.Failed) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	delete(src.denied, id(1500))
	if r, err := d.FetchMissing(t.Context(), src, "drill"); err != nil || r.Sealed != 1 || len(r.Failed) != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if s, err := d.Status(t.Context()); err != nil || s.Passwords != n {
		t.Errorf("%+v, %v", s, err)
	}
}
