package keys

import (
	"errors"
	"testing"

	"github.com/fleetmend/fleetmend/bitlocker"
)

// Half a name finds what begins so, and says that it does; a whole one finds its machine alone.
func TestFindByTheBeginningOfAName(t *testing.T) {
	d := sitDown(t, t.TempDir())
	vault, err := d.Vault(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for n, name := range []string{"LON-7", "LON-77", "LON-78", "PAR-1"} {
		if err := vault.Add(t.Context(), bitlocker.KeyRef{ID: keyID(n), Source: "ad:fleet.test", SourceKey: name, Machine: bitlocker.Machine{Name: name, Serial: "XS" + name[4:]}}); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string]struct {
		keys  int
		begun bool
	}{"LON": {3, true}, "lon-": {3, true}, "lon-7": {1, false}, "LON-7*": {3, false}, "LON-77": {1, false}, "par": {1, true}, "XS7": {1, false}, "xs": {-1, false}, "NYC": {-1, false}, "00000002": {1, false}} {
		found, err := Find(t.Context(), d, Query{Text: text})
		switch {
		case want.keys < 0 && !errors.Is(err, bitlocker.ErrNotStored):
			t.Errorf("%q: %v, %v", text, found, err)
		case want.keys >= 0 && (err != nil || len(found.Keys) != want.keys || found.Beginning != want.begun):
			t.Errorf("%q: %d keys, beginning %v (%v)", text, len(found.Keys), found.Beginning, err)
		}
	}
}
