package desk_test

import (
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/statefolder"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// first is a state folder as the first fleetmend left it: two machines, a dry run that reached neither, no key.
func first(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	packed, err := filepath.Glob("testdata/first/*")
	if err != nil || len(packed) != 5 {
		t.Fatal(packed, err)
	}
	for _, path := range packed {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		var content io.Reader = f
		if strings.HasSuffix(path, ".gz") {
			if content, err = gzip.NewReader(f); err != nil {
				t.Fatal(err)
			}
		}
		data, err := io.ReadAll(content)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if err := os.WriteFile(filepath.Join(dir, strings.TrimSuffix(filepath.Base(path), ".gz")), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func at(t *testing.T, dir string, said *[]string) *desk.Desk {
	t.Helper()
	d, err := desk.New(desk.Options{State: dir, Tell: func(text string) { *said = append(*said, text) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestAFolderOfTheFirstVersionIsTakenOverWhole(t *testing.T) {
	ctx, dir := t.Context(), first(t)
	var said []string
	d := at(t, dir, &said)
	store, err := d.Inventory(ctx)
	if err != nil {
		t.Fatal(err)
	}
	all, err := store.Select(ctx, inventory.Selector{})
	if err != nil || len(all) != 2 {
		t.Fatalf("%d machines, %v", len(all), err)
	}
	j, err := d.Journal(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if visits, err := j.History(ctx, all[0].ID); err != nil || len(visits) != 1 || visits[0].Machine.Outcome != journal.Unreachable {
		t.Errorf("%+v %v", visits, err)
	}
	if _, err := d.Vault(ctx); err != nil {
		t.Error(err)
	}
	if len(said) != 1 || !strings.Contains(said[0], "journal.db") || !strings.Contains(said[0], "before-1") {
		t.Errorf("said: %q", said)
	}
	for _, name := range []string{"inventory.db", "journal.db", "keys.db", "audit.db", "audit.db.head"} {
		if _, err := os.Stat(filepath.Join(dir, "before-1", name)); err != nil {
			t.Error(err)
		}
	}
	again := at(t, dir, &said)
	if _, err := again.Journal(ctx); err != nil || len(said) != 1 {
		t.Errorf("a second time: %q %v", said, err)
	}
}

func TestWhileARunOfTheFolderIsAtWorkItIsLeftAlone(t *testing.T) {
	ctx, dir := t.Context(), first(t)
	release, err := journal.Quiet(ctx, filepath.Join(dir, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	var said []string
	_, err = at(t, dir, &said).Inventory(ctx)
	if locked := (*journal.LockedError)(nil); !errors.As(err, &locked) {
		t.Errorf("%v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "before-*")); len(left) != 0 {
		t.Error(left)
	}
}

// held is what lies in a folder: the hash of each file.
func held(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][32]byte{}
	for _, e := range entries {
		if e.IsDir() {
			all[e.Name()] = [32]byte{}
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = sha256.Sum256(data)
	}
	return all
}

// Whichever of the four files a newer fleetmend wrote: nothing in the folder is opened for writing, the old ones are not brought up, and
// everything lies there as before, whatever is asked first.
func TestAFolderWithANewerFileIsLeftAsItIs(t *testing.T) {
	ctx := t.Context()
	current := func(t *testing.T) string {
		dir := first(t)
		var said []string
		d := at(t, dir, &said)
		if _, err := d.Vault(ctx); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	opens := map[string]func(*desk.Desk) error{
		"inventory": func(d *desk.Desk) error { _, err := d.Inventory(ctx); return err },
		"journal":   func(d *desk.Desk) error { _, err := d.Journal(ctx); return err },
		"vault":     func(d *desk.Desk) error { _, err := d.Vault(ctx); return err },
		"audit":     func(d *desk.Desk) error { _, err := d.Audit(ctx); return err },
	}
	for made, folder := range map[string]func(*testing.T) string{"of the first version": first, "of this version": current} {
		for _, name := range []string{"inventory.db", "journal.db", "keys.db", "audit.db"} {
			t.Run(name+" in a folder "+made, func(t *testing.T) {
				dir := folder(t)
				f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.WriteAt([]byte{0, 0, 0, 99}, 60); err != nil { // user_version (https://www.sqlite.org/fileformat.html, 1.3)
					t.Fatal(err)
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				before := held(t, dir)
				for what, open := range opens {
					var said []string
					if err := open(at(t, dir, &said)); !errors.Is(err, statefolder.ErrNewer) || !strings.Contains(err.Error(), name) || len(said) > 0 || len(hint.Of(err)) == 0 {
						t.Errorf("%s: %v, said %q", what, err, said)
					}
				}
				if after := held(t, dir); !maps.Equal(before, after) {
					t.Errorf("the folder was touched: %d files, then %d", len(before), len(after))
				}
			})
		}
	}
}
