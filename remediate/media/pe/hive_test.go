package pe

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/remediate/media/practice"
)

func TestHive(t *testing.T) {
	raw := practice.SystemHive("ws-001")
	h, err := openHive(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := h.text("select", "CURRENT"); got != "2" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := h.text(`ControlSet002\Control\ComputerName\ComputerName`, "ComputerName"); got != "ws-001" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, missing := range [][2]string{{"None", "x"}, {"Select", "x"}, {`Select\Deeper`, "x"}} {
		if _, err := h.text(missing[0], missing[1]); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v: %v", missing, err)
		}
	}
	if _, err := exec.LookPath("hivexget"); err != nil {
		t.Skip("hivexget is not installed (Debian: libhivex-bin): the test's hive is not judged by another program")
	}
	name := filepath.Join(t.TempDir(), "SYSTEM")
	if err := os.WriteFile(name, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("hivexget", name, `\ControlSet002\Control\ComputerName\ComputerName`, "ComputerName").CombinedOutput() //nolint:noctx // a test
	if err != nil || strings.TrimSpace(string(out)) != "ws-001" {
		t.Errorf("hivexget: %s, %v", out, err)
	}
}

func FuzzHive(f *testing.F) {
	f.Add(practice.SystemHive("WS001"))
	f.Add([]byte("regf"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer bounded.Input(t, len(raw))()
		if h, err := openHive(bytes.NewReader(raw)); err == nil {
			_, _ = h.text("Select", "Current")
			_, _ = h.text(`ControlSet002\Control\ComputerName\ComputerName`, "ComputerName")
		}
	})
}

func TestSMBIOS(t *testing.T) {
	table := []byte{0, 4, 0, 0}
	table = append(table, "BIOS vendor\x00\x00"...)
	one := make([]byte, 27)
	one[0], one[1], one[4], one[5], one[7] = 1, 27, 1, 2, 3
	for i := range 16 {
		one[8+i] = byte(i + 1)
	}
	table = append(append(table, one...), "Dell Inc.\x00Latitude\x00 ABC123 \x00\x00"...)
	table = append(table, 127, 4, 0, 0, 0, 0)
	raw := append([]byte{0, 3, 2, 0, byte(len(table)), 0, 0, 0}, table...)
	m := parseSMBIOS(raw)
	if m.Manufacturer != "Dell Inc." || m.Model != "Latitude" || m.Serial != "ABC123" || m.UUID != "04030201-0605-0807-090a-0b0c0d0e0f10" {
		t.Errorf("%+v", m)
	}
	for n := range raw {
		parseSMBIOS(raw[:n])
	}
}

func FuzzSMBIOS(f *testing.F) {
	f.Add([]byte{0, 3, 2, 0, 6, 0, 0, 0, 127, 4, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer bounded.Input(t, len(raw))()
		parseSMBIOS(raw)
	})
}
