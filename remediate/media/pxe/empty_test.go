package pxe

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/media/practice"
)

// TestEmptyPrograms: what an interrupted download left is refused by name, when it is taken along and when it is served.
func TestEmptyPrograms(t *testing.T) {
	for _, name := range []string{"ipxe.efi", "undionly.kpxe", "ipxe-arm64.efi", "wimboot", "WIMBOOT", "mine.efi"} {
		c := Config{Dir: fill(t, map[string][]byte{"boot.wim": []byte("x"), name: nil}), Address: netip.MustParseAddr("127.0.0.1"), DryRun: true}
		if name == "mine.efi" {
			c.Loaders = map[string]string{"x64": name}
		}
		s, err := New(t.Context(), c)
		if err == nil {
			s.Close()
		}
		if !errors.Is(err, errEmpty) || !strings.Contains(err.Error(), name) || len(hint.Of(err)) == 0 {
			t.Errorf("serve %s: %v", name, err)
		}
	}
	w, err := practice.WIM(t.Context(), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	dir := fill(t, map[string][]byte{"boot.wim": w, "ipxe.efi": nil, "wimboot": []byte("x")})
	out := filepath.Join(t.TempDir(), "bundle")
	o := BundleOptions{From: filepath.Join(dir, "boot.wim"), Dir: out, Extra: []string{filepath.Join(dir, "wimboot"), filepath.Join(dir, "ipxe.efi")}}
	if _, err := Bundle(t.Context(), o); !errors.Is(err, errEmpty) || !strings.Contains(err.Error(), "ipxe.efi") {
		t.Errorf("bundle: %v", err)
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder was left: %v", err)
	}
	o.Extra = o.Extra[:1]
	if _, err := Bundle(t.Context(), o); err != nil {
		t.Error(err)
	}
}
