package media

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/media/pxe"
)

// work is a desk with a state folder of its own, and what it said.
func work(t *testing.T, o desk.Options) (*desk.Desk, *[]string) {
	t.Helper()
	said := &[]string{}
	o.State, o.Tell = t.TempDir(), func(text string) { *said = append(*said, text) }
	d, err := desk.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, said
}

func TestServedClientsAreKept(t *testing.T) {
	d, said := work(t, desk.Options{})
	store, err := d.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.Import(t.Context(), "cmdb", []inventory.Record{{Source: "cmdb", SourceKey: "1",
		Fields: map[string]string{"name": "WS001", "claims.smbios": "00112233-4455-6677-8899-aabbccddeeff"}}})
	if err != nil {
		t.Fatal(err)
	}
	keep, err := keeper(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		keep(pxe.Client{MAC: "52:54:00:12:34:56", UUID: "00112233-4455-6677-8899-aabbccddeeff"})
		keep(pxe.Client{MAC: "52:54:00:12:34:99"})
		keep(pxe.Client{MAC: "nonsense"})
	}
	if len(*said) > 0 {
		t.Errorf("said: %s", *said)
	}
	everything, err := inventory.ParseSelector("all", nil)
	if err != nil {
		t.Fatal(err)
	}
	machines, err := store.Select(t.Context(), everything)
	if err != nil {
		t.Fatal(err)
	}
	byMAC := map[string]string{}
	for i := range machines {
		for _, mac := range machines[i].MACs {
			byMAC[mac] = machines[i].Name
		}
	}
	if len(machines) != 2 || byMAC["52:54:00:12:34:56"] != "WS001" {
		t.Errorf("%d machines, by MAC: %v", len(machines), byMAC)
	}
	for _, name := range []string{"52:54:00:12:34:56", "52-54-00-12-34-56", "00112233-4455-6677-8899-AABBCCDDEEFF"} {
		if m, err := store.Machine(t.Context(), name); err != nil || m.Name != "WS001" || m.Provenance["macs"].Source != "pxe" {
			t.Errorf("%s is %q, its MAC address from %q: %v", name, m.Name, m.Provenance["macs"].Source, err)
		}
	}
	if m, err := store.Machine(t.Context(), "52:54:00:12:34:99"); err != nil || m.Name != "" || len(m.MACs) != 1 || m.MACs[0] != "52:54:00:12:34:99" {
		t.Errorf("the one without a name: %+v, %v", m, err)
	}
}

func TestMachineFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"52-54-00-12-34-56/keys.age": "a", "00112233-4455-6677-8899-aabbccddeeff/keys.age": "b"} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, c := range []struct {
		who  pxe.Client
		want string
	}{
		{pxe.Client{MAC: "52:54:00:12:34:56"}, "a"},
		{pxe.Client{MAC: "52:54:00:00:00:01", UUID: "00112233-4455-6677-8899-aabbccddeeff"}, "b"},
		{pxe.Client{MAC: "52:54:00:00:00:01"}, ""},
	} {
		files, err := machineFiles(root, c.who)
		got := ""
		if len(files) == 1 {
			got = string(files[0].Content)
		}
		if err != nil || got != c.want {
			t.Errorf("%+v: %q %v", c.who, got, err)
		}
	}
}
