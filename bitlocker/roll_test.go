package bitlocker_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/internal/secret"
)

// roller is a source whose changed keys and whose roll are told apart.
type roller struct {
	*fakeSource
	changed []bitlocker.KeyRef // since any time
	cut     bool               // the roll breaks off
}

func (r *roller) Keys(ctx context.Context, since time.Time, emit func(bitlocker.KeyRef) error) error {
	if since.IsZero() {
		return r.fakeSource.Keys(ctx, since, emit)
	}
	for _, ref := range r.changed {
		if err := emit(ref); err != nil {
			return err
		}
	}
	return nil
}

func (r *roller) Roll(_ context.Context, emit func(string, bitlocker.Machine) error) error {
	for i, ref := range r.refs {
		if r.cut && i == len(r.refs)/2 {
			return errors.New("connection reset")
		}
		if err := emit(ref.SourceKey, ref.Machine); err != nil {
			return err
		}
	}
	return nil
}

func TestRollFindsRenamedAndVanished(t *testing.T) {
	d := openDesk(t, t.TempDir())
	src := &roller{fakeSource: source(40)}
	for i := range src.refs {
		src.refs[i].Machine.GUID = "0000" + string(id(i))[4:]
	}
	sync := func(want bitlocker.SyncReport) {
		t.Helper()
		got, err := d.Sync(t.Context(), src, false)
		want.Source = src.Name()
		if err != nil || got != want {
			t.Fatalf("%+v, %v; want %+v", got, err, want)
		}
	}
	sync(bitlocker.SyncReport{Full: true, Read: 40, Added: 40})
	sync(bitlocker.SyncReport{})

	src.refs[3].Machine.Name, src.refs[3].Machine.FQDN, src.refs[3].Machine.DN = "NEW-03", "new-03.fleet.test", "CN=NEW-03,OU=PAR,DC=fleet,DC=test"
	vanished := src.refs[5]
	src.refs = slices.Delete(src.refs, 5, 6)
	sync(bitlocker.SyncReport{Moved: 1, Gone: 1})
	found, err := d.Find(t.Context(), bitlocker.Query{Host: "new-03"})
	if err != nil || len(found.Matches) != 1 || found.Matches[0].ID != id(3) {
		t.Errorf("the renamed one: %+v, %v", found, err)
	}
	found, err = d.Find(t.Context(), bitlocker.Query{Machines: []bitlocker.Machine{{Name: "OTHER", GUID: "{0000" + string(id(3))[4:] + "}"}}})
	if err != nil || len(found.Matches) != 1 || found.Matches[0].ID != id(3) {
		t.Errorf("by GUID: %+v, %v", found, err)
	}
	gone := func() bitlocker.Match {
		t.Helper()
		found, err := d.Find(t.Context(), bitlocker.Query{KeyID: id(5).Prefix()})
		if err != nil || len(found.Matches) != 1 {
			t.Fatalf("%+v, %v", found, err)
		}
		return found.Matches[0]
	}
	if m := gone(); !m.Deleted || m.Gone.IsZero() {
		t.Errorf("the vanished one: %+v", m)
	}
	src.refs = append(src.refs, vanished)
	sync(bitlocker.SyncReport{Moved: 1})
	if m := gone(); m.Deleted || !m.Gone.IsZero() {
		t.Errorf("it is back: %+v", m)
	}

	// An old key that was never seen means new rights: everything is read.
	src.refs = append(src.refs, ref(77))
	sync(bitlocker.SyncReport{Full: true, Read: 41, Added: 1})

	// A roll that breaks off, or misses too much, marks nobody.
	src.cut = true
	if _, err := d.Sync(t.Context(), src, false); err == nil {
		t.Error("a roll that broke off passed")
	}
	src.cut, src.refs = false, src.refs[:20]
	sync(bitlocker.SyncReport{Missing: 21})
	if m := gone(); m.Deleted {
		t.Errorf("a reading that missed half marked %+v", m)
	}
	if r, err := d.Sync(t.Context(), src, true); err != nil || r.Gone != 21 {
		t.Errorf("a whole reading: %+v, %v", r, err)
	}
}

// What a roll call may miss is a part of the keys that are there: those which were deleted long ago, as every rotation leaves one,
// do not make a roll of half of them believed. One that lists nothing at all is never believed, however few they are.
func TestRollIsHeldAgainstWhatIsThere(t *testing.T) {
	d := openDesk(t, t.TempDir())
	src := &roller{fakeSource: source(100)}
	sync := func(full bool, missing, gone int) {
		t.Helper()
		r, err := d.Sync(t.Context(), src, full)
		if err != nil || r.Missing != missing || r.Gone != gone {
			t.Fatalf("%+v, %v; want %d missing and %d gone", r, err, missing, gone)
		}
	}
	sync(true, 0, 0)
	src.refs = src.refs[:30]
	sync(true, 0, 70)
	all := src.refs
	src.refs = all[:15]
	sync(false, 15, 0)
	src.refs = all[:5]
	sync(true, 0, 25)
	src.refs = nil
	sync(false, 5, 0)
}

// A reference without a GUID does not take away the one that is known.
func TestGUIDStays(t *testing.T) {
	d := openDesk(t, t.TempDir())
	r := ref(1)
	r.Source, r.Machine.GUID = "ad:fleet.test", "{11112222-3333-4444-5555-666677778888}"
	with := r
	r.Machine.GUID, r.Volume = "", bitlocker.VolumeFixed
	if err := errors.Join(d.Add(t.Context(), with), d.Add(t.Context(), r)); err != nil {
		t.Fatal(err)
	}
	found, err := d.Find(t.Context(), bitlocker.Query{KeyID: r.ID.Prefix()})
	if err != nil || found.Matches[0].Machine.GUID != "11112222-3333-4444-5555-666677778888" || found.Matches[0].Volume != bitlocker.VolumeFixed {
		t.Errorf("%+v, %v", found, err)
	}
}

// A vault of the schema before keeps its keys, passwords and slots.
func TestVaultOfSchema2IsBroughtUp(t *testing.T) {
	d, src := unlocked(t, 3)
	if _, err := d.Fetch(t.Context(), src, "ticket", refsOf(t, d)...); err != nil {
		t.Fatal(err)
	}
	dir := d.dir
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "keys.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"DROP TRIGGER digest_ref_in", "DROP TRIGGER digest_ref", "DROP TRIGGER digest_ref_out", "DROP TABLE digest_log", "DROP TABLE digest", "DROP TABLE generation",
		"DROP TABLE folded", "DROP INDEX refs_guid", "ALTER TABLE refs DROP COLUMN guid", "ALTER TABLE refs DROP COLUMN gone", "PRAGMA user_version = 2"} {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	log, err := audit.Open(t.Context(), filepath.Join(dir, "audit.db"), audit.Operator{OSUser: "ops"})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	v, err := bitlocker.OpenVault(t.Context(), path, bitlocker.Options{Audit: log})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := v.UnlockWithPassphrase(t.Context(), secret.New(passphrase)); err != nil {
		t.Fatal(err)
	}
	if k, err := v.Reveal(t.Context(), id(1), "ticket"); err != nil || !k.Password.Equal(password(1)) {
		t.Errorf("%+v, %v", k, err)
	}
}
