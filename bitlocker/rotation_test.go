package bitlocker_test

import (
	"bytes"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/secret"
)

// TestRotationIsMarkedAndStays: the mark outlives a whole reading of the source, which lists the old key as before, and
// travels with a snapshot. Nobody marks the key of another machine.
func TestRotationIsMarkedAndStays(t *testing.T) {
	d, src := unlocked(t, 4)
	at := time.Unix(1_800_000_000, 0).UTC()
	if n, err := d.Fold(t.Context(), "run-1", 7, bitlocker.Rotated{Machine: "SOMEBODY.fleet.test", At: at, Keys: []bitlocker.KeyID{id(1)}}); err != nil || n != 0 {
		t.Fatalf("%d, %v", n, err)
	}
	if n, err := d.Fold(t.Context(), "run-1", 9, bitlocker.Rotated{Machine: ref(1).Machine.FQDN, At: at, Keys: []bitlocker.KeyID{id(1), "11111111-2222-3333-4444-555555555555"}}); err != nil || n != 1 {
		t.Fatalf("%d, %v", n, err)
	}
	if _, err := d.Fold(t.Context(), "run-1", 8); err != nil { // who comes late does not take it back
		t.Fatal(err)
	}
	if read, err := d.Folded(t.Context()); err != nil || len(read) != 1 || read["run-1"] != 9 {
		t.Fatalf("%v, %v", read, err)
	}
	asked := ref(2)
	asked.Source = src.Name()
	if err := d.MarkRotationAsked(t.Context(), at, asked); err != nil {
		t.Fatal(err)
	}
	if report, err := d.Sync(t.Context(), src, true); err != nil || report.Changed != 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	check := func(v *bitlocker.Vault, asked time.Time) {
		t.Helper()
		n := 0
		err := v.All(t.Context(), func(m bitlocker.Match) error {
			n++
			want, wantAsked := time.Time{}, time.Time{}
			switch m.ID {
			case id(1):
				want = at
			case id(2):
				wantAsked = asked
			}
			if !m.Rotated.Equal(want) || !m.RotationAsked.Equal(wantAsked) {
				t.Errorf("%s: %v, %v", m.ID, m.Rotated, m.RotationAsked)
			}
			return nil
		})
		if err != nil || n != 4 {
			t.Errorf("%d keys, %v", n, err)
		}
	}
	check(d.Vault, at)
	recipient, err := d.SnapshotPassphrase(secret.New("for the safe"))
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if _, err := d.Export(t.Context(), &file, "peacetime", recipient); err != nil {
		t.Fatal(err)
	}
	other, _ := unlocked(t, 0)
	identity, err := age.NewScryptIdentity("for the safe")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Import(t.Context(), &file, "AD is down", identity); err != nil {
		t.Fatal(err)
	}
	check(other.Vault, time.Time{})
}
