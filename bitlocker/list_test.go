package bitlocker_test

import (
	"cmp"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fleetmend/fleetmend/bitlocker"
)

func keyList(t *testing.T, d *desk) []bitlocker.Match {
	t.Helper()
	list, err := d.KeyList(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []bitlocker.Match
	err = list.Each(func(m *bitlocker.Match) error {
		all = append(all, *m)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b bitlocker.Match) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// rowList is the list without the digest, which it makes.
func rowList(t *testing.T, d *desk, db *sql.DB) []bitlocker.Match {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), "DELETE FROM digest; DELETE FROM digest_log"); err != nil {
		t.Fatal(err)
	}
	return keyList(t, d)
}

// Whatever changes a reference is in the list at once, with the digest of a moment before; and each of the triggers is needed for
// that.
func TestTheListOfKeysFollowsEveryChange(t *testing.T) {
	ctx := t.Context()
	d, src := unlocked(t, 30)
	if _, err := d.Fetch(ctx, src, "ticket", refsOf(t, d)...); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(d.dir, "keys.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	noted := func() (n int) {
		t.Helper()
		if err := db.QueryRowContext(ctx, "SELECT count(*) FROM digest_log").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if got := rowList(t, d, db); len(got) != 30 || got[0].State != bitlocker.StateSealed {
		t.Fatalf("%+v", got)
	}
	exec := func(statement string) {
		t.Helper()
		if _, err := db.ExecContext(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	for trigger, changes := range map[string][]string{
		"digest_ref_in":  {`INSERT INTO refs SELECT 1000, source, 'new', 'NEW', volume_id, volume, name, fqdn, serial, device_id, dn, created, deleted, stale, stale_cause, seen, state, state_note, state_at, rotated, rotation_asked, guid, gone FROM refs WHERE id = 1`},
		"digest_ref_out": {"DELETE FROM passwords WHERE ref = 2", "DELETE FROM refs WHERE id = 2"},
		"digest_ref": {"UPDATE refs SET key_id = 'OTHER' WHERE id = 3", "UPDATE refs SET volume = 'fixed' WHERE id = 4", "UPDATE refs SET name = 'X' WHERE id = 5", "UPDATE refs SET fqdn = 'x.y' WHERE id = 6",
			"UPDATE refs SET serial = 'X' WHERE id = 7", "UPDATE refs SET device_id = 'x' WHERE id = 8", "UPDATE refs SET dn = 'CN=X' WHERE id = 9", "UPDATE refs SET guid = 'x' WHERE id = 10",
			"UPDATE refs SET created = 5 WHERE id = 11", "UPDATE refs SET state = 'denied' WHERE id = 12", "UPDATE refs SET deleted = 1 WHERE id = 13", "UPDATE refs SET stale = 1 WHERE id = 14",
			"UPDATE refs SET rotated = 7 WHERE id = 15"},
	} {
		for _, change := range changes {
			before := keyList(t, d)
			exec(change)
			after := keyList(t, d)
			if slices.Equal(before, after) && trigger != "digest_ref_out" {
				t.Errorf("%s is not in the list", change)
			}
			if want := rowList(t, d, db); !slices.Equal(want, after) {
				t.Errorf("after %s:\n%+v\nwant\n%+v", change, after, want)
			}
		}
		var text string
		if err := db.QueryRowContext(ctx, "SELECT sql FROM sqlite_schema WHERE name = ?", trigger).Scan(&text); err != nil {
			t.Fatal(err)
		}
		exec("DROP TRIGGER " + trigger)
		exec(map[string]string{"digest_ref_in": "INSERT INTO refs SELECT 1001, source, 'newer', 'NEWER', volume_id, volume, name, fqdn, serial, device_id, dn, created, deleted, stale, stale_cause, seen, state, state_note, state_at, rotated, rotation_asked, guid, gone FROM refs WHERE id = 1",
			"digest_ref_out": "DELETE FROM passwords WHERE ref = 16; DELETE FROM refs WHERE id = 16", "digest_ref": "UPDATE refs SET name = 'UNSEEN' WHERE id = 17"}[trigger])
		if seen := keyList(t, d); slices.Equal(seen, rowList(t, d, db)) {
			t.Errorf("%s is not needed", trigger)
		}
		exec(text)
	}
	// A reading that finds nothing new costs the digest nothing; more changes than a log is kept of drop it.
	exec("UPDATE refs SET seen = seen + 1, rotation_asked = 3, state_note = 'x'")
	if n := noted(); n != 0 {
		t.Errorf("%d references are noted whose list is the same", n)
	}
	for n := range 200 {
		exec(fmt.Sprintf("UPDATE refs SET created = %d", n))
	}
	if n := noted(); n != 0 {
		t.Errorf("%d changes are noted without a digest", n)
	}
	after := keyList(t, d)
	if want := rowList(t, d, db); !slices.Equal(want, after) {
		t.Errorf("after very many changes:\n%+v\nwant\n%+v", after, want)
	}
}
