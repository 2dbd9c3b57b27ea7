package program

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/windows"
)

// below is a key of the registry that runs, in the place of HKEY_LOCAL_MACHINE.
type below struct{ hive }

func (b below) key(key string) string {
	return strings.TrimPrefix(strings.ToUpper(key), `HKEY_LOCAL_MACHINE\`)
}

func (b below) HasKey(key string) (bool, error) { return b.hive.HasKey(b.key(key)) }
func (b below) MakeKey(key string) error        { return b.hive.MakeKey(b.key(key)) }
func (b below) RemoveKey(key string) error      { return b.hive.RemoveKey(b.key(key)) }
func (b below) Delete(key, name string) error   { return b.hive.Delete(b.key(key), name) }
func (b below) Inside(key string) (int, []string, error) {
	return b.hive.Inside(b.key(key))
}
func (b below) Get(key, name string) (windows.Value, bool, error) {
	return b.hive.Get(b.key(key), name)
}
func (b below) Set(key, name string, v windows.Value) error { return b.hive.Set(b.key(key), name, v) }

// TestRegistryCases runs the cases of the registry on the registry that runs: Windows', or Wine's (test/interop/wine.sh).
func TestRegistryCases(t *testing.T) {
	paths, err := filepath.Glob("../../../testdata/conformance/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	ran := 0
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		if !strings.HasPrefix(name, "registry-") && name != "multi-string-empty-member" && name != "order-of-undo" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			c, err := windows.ParseCase(raw)
			if err != nil {
				t.Fatal(err)
			}
			problems, _ := windows.RehearseOn(t.Context(), c, below{hive(`SOFTWARE\fleetmend-cases-` + name)})
			for _, p := range problems {
				t.Error(p)
			}
			ran++
		})
	}
	if ran < 20 {
		t.Errorf("%d cases ran", ran)
	}
}
