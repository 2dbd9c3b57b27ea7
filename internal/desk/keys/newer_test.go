package keys_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/keys"
	"github.com/fleetmend/fleetmend/internal/statefolder"
)

// A folder of a newer version is refused in one sentence: that rotations could not be read either is no news.
func TestAFolderThatIsRefusedIsNotRemarkedOn(t *testing.T) {
	dir := t.TempDir()
	at := func(tell func(string)) *desk.Desk {
		d, err := desk.New(desk.Options{State: dir, Tell: tell})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	old := at(nil)
	if _, err := old.Journal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "journal.db"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte{0, 0, 0, 99}, 60) // the version of a user, in the header of an SQLite file
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	newer := at(func(text string) { t.Errorf("said: %s", text) })
	defer newer.Close()
	if err := keys.Hear(t.Context(), newer); !errors.Is(err, statefolder.ErrNewer) {
		t.Errorf("%v", err)
	}
}
