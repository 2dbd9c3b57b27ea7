package bitlocker_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
)

// indexesOf reads the indexes of a vault past the program.
func indexesOf(t *testing.T, dir string) (names []string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "keys.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("SELECT name || ' ' || sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY name")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

// looking looks into the vault in the middle of a reading.
type looking struct {
	*fakeSource
	at   int
	look func()
	fail error
}

func (l *looking) Keys(ctx context.Context, since time.Time, emit func(bitlocker.KeyRef) error) error {
	n := 0
	err := l.fakeSource.Keys(ctx, since, func(ref bitlocker.KeyRef) error {
		if n++; n == l.at {
			l.look()
		}
		return emit(ref)
	})
	return errors.Join(err, l.fail)
}

// An empty vault is filled without indexes; they are there again after it, whatever came of the reading, and after a program that
// was killed in the middle.
func TestFillingGivesTheIndexesBack(t *testing.T) {
	for name, fail := range map[string]error{"to its end": nil, "broken off": errors.New("connection reset")} {
		t.Run(name, func(t *testing.T) {
			d := openDesk(t, t.TempDir())
			whole := indexesOf(t, d.dir)
			if len(whole) != 7 {
				t.Fatalf("the schema has %q", whole)
			}
			var without []string
			src := &looking{fakeSource: source(20), at: 10, fail: fail, look: func() { without = indexesOf(t, d.dir) }}
			src.refs = append(src.refs, src.refs[3]) // twice in one reading
			r, err := d.Sync(t.Context(), src, false)
			if r.Added != 20 || (err != nil) != (fail != nil) {
				t.Errorf("%+v, %v", r, err)
			}
			if len(without) != 0 {
				t.Errorf("in the middle: %q", without)
			}
			if got := indexesOf(t, d.dir); len(got) != len(whole) {
				t.Errorf("afterwards: %q", got)
			}
		})
	}
	d := openDesk(t, t.TempDir())
	src := &looking{fakeSource: source(20), at: 10}
	src.look = func() {
		other, err := bitlocker.OpenVault(t.Context(), filepath.Join(d.dir, "keys.db"), bitlocker.Options{})
		if err != nil {
			t.Fatal(err)
		}
		other.Close()
		if got := indexesOf(t, d.dir); len(got) != 7 {
			t.Errorf("whoever opens a vault that was left in the middle gives it: %q", got)
		}
	}
	if r, err := d.Sync(t.Context(), src, false); err != nil || r.Added != 20 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A whole reading that nobody asked for marks nobody where it misses more than a fifth; one that was asked for decides.
func TestUnaskedWholeReadingDoubts(t *testing.T) {
	d := openDesk(t, t.TempDir())
	src := &roller{fakeSource: source(40)}
	if _, err := d.Sync(t.Context(), src, false); err != nil {
		t.Fatal(err)
	}
	src.refs = append(slices.Clone(src.refs[:20]), ref(77)) // rights on another OU, and no longer on that one
	r, err := d.Sync(t.Context(), src, false)
	if err != nil || !r.Full || r.Missing != 20 || r.Gone != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	found, err := d.Find(t.Context(), bitlocker.Query{KeyID: id(30).Prefix()})
	if err != nil || found.Matches[0].Deleted {
		t.Errorf("marked: %+v, %v", found, err)
	}
	if r, err = d.Sync(t.Context(), src, true); err != nil || r.Missing != 0 || r.Gone != 20 {
		t.Errorf("asked for: %+v, %v", r, err)
	}
}

// A first reading writes many keys with one statement. A key that comes twice in it, soon or later, is one key, as it was said last;
// and no column is lost that only a few of them have.
func TestAFirstReadingTakesWhatComesTwice(t *testing.T) {
	d, src := openDesk(t, t.TempDir()), source(700)
	for i := range src.refs {
		if i%100 != 50 {
			src.refs[i].Machine.Serial, src.refs[i].Machine.FQDN = "", ""
		}
	}
	src.refs[333].Deleted, src.refs[444].Stale, src.refs[444].StaleCause = true, true, "replaced"
	want := map[string]bitlocker.KeyRef{}
	for _, r := range src.refs {
		want[r.SourceKey] = r
	}
	for _, twice := range []struct{ n, at int }{{3, 5}, {40, 640}, {41, 642}, {100, 600}} {
		again := src.refs[twice.n]
		if twice.n != 41 { // that one says the same
			again.Machine.DN = "CN=" + again.Machine.Name + ",OU=PAR,DC=fleet,DC=test"
		}
		src.refs = slices.Insert(src.refs, twice.at, again)
		want[again.SourceKey] = again
	}
	report, err := d.Sync(t.Context(), src, true)
	if err != nil || report.Read != 704 || report.Added != 700 || report.Changed != 3 {
		t.Fatalf("%+v, %v", report, err)
	}
	got := refsOf(t, d)
	if len(got) != len(want) {
		t.Fatalf("%d keys, want %d", len(got), len(want))
	}
	for _, g := range got {
		w := want[g.SourceKey]
		w.Source, w.Machine.FQDN = g.Source, strings.ToLower(w.Machine.FQDN)
		if g != w {
			t.Errorf("%+v\nwant\n%+v", g, w)
		}
	}
	if report, err = d.Sync(t.Context(), src, true); err != nil || report.Added != 0 || report.Gone != 0 {
		t.Errorf("once more: %+v, %v", report, err)
	}
}
