package doctor_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/doctor"
	"github.com/fleetmend/fleetmend/internal/desk/machines"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/settings"
	"github.com/fleetmend/fleetmend/internal/simfleet"
	"github.com/fleetmend/fleetmend/inventory"
)

// clinic is a simulated fleet and its settings.
type clinic struct {
	t     *testing.T
	fleet *simfleet.Fleet
	dir   string
}

func newClinic(t *testing.T) *clinic {
	t.Helper()
	f, err := simfleet.New(simfleet.Options{Machines: 30, Seed: 5})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	c := &clinic{t, f, t.TempDir()}
	if err := f.Write(c.dir); err != nil {
		t.Fatal(err)
	}
	return c
}

// at opens a desk with changed settings.
func (c *clinic) at(change func(*settings.Settings)) *desk.Desk {
	c.t.Helper()
	s, err := settings.Load(filepath.Join(c.dir, "fleetmend.yaml"))
	if err != nil {
		c.t.Fatal(err)
	}
	change(&s)
	d, err := desk.New(desk.Options{Settings: s, State: filepath.Join(c.dir, "desk")})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = d.Close() })
	return d
}

// examine gives the findings as "status check: detail", one a line.
func (c *clinic) examine(d *desk.Desk, r doctor.Request) (string, doctor.Report) {
	c.t.Helper()
	report, err := doctor.Examine(c.t.Context(), d, r)
	if err != nil {
		c.t.Fatal(err)
	}
	var text strings.Builder
	for _, f := range report.Findings {
		fmt.Fprintf(&text, "%s %s: %s\n", f.Status, f.Check, f.Detail)
		if (f.Do == "") != (f.Status == doctor.OK) {
			c.t.Errorf("%+v says not what to do, or says it though all is well", f)
		}
	}
	return text.String(), report
}

func (c *clinic) wants(text string, lines ...string) {
	c.t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+text, "\n"+line) {
			c.t.Errorf("no finding %q in\n%s", line, text)
		}
	}
}

// TestTenantByItsPermissions: applications of the tenant get different answers, and none of them read a key.
func TestTenantByItsPermissions(t *testing.T) {
	c := newClinic(t)
	for app, want := range map[string][]string{
		simfleet.TenantReader: {"ok entra list keys", "warn entra read keys: the token does not show", "ok entra devices", "ok entra intune"},
		simfleet.TenantNobody: {"warn entra list keys", "warn entra devices", "warn entra intune"},
	} {
		id, password, err := c.fleet.TenantApp(app)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(c.dir, app+".secret")
		if err := os.WriteFile(file, []byte(password.Reveal()), 0o600); err != nil {
			t.Fatal(err)
		}
		text, report := c.examine(c.at(func(s *settings.Settings) { s.Entra.ClientID, s.Entra.SecretFile = id, file }), doctor.Request{})
		c.wants(text, append(want, "ok entra: entra:")...)
		if report.Rejected {
			t.Errorf("%s was rejected", app)
		}
	}
	if reads := c.fleet.Tenant().Audit(); len(reads) > 0 {
		t.Errorf("the doctor read keys: %v", reads)
	}
	wrong := filepath.Join(c.dir, "wrong.secret")
	if err := os.WriteFile(wrong, []byte("not it"), 0o644); err != nil {
		t.Fatal(err)
	}
	text, report := c.examine(c.at(func(s *settings.Settings) { s.Entra.SecretFile = wrong }), doctor.Request{})
	c.wants(text, "fail entra: ", "warn secrets: "+wrong+" can be read by others")
	if !report.Rejected {
		t.Error("a refused sign-in is not counted as one")
	}
	text, report = c.examine(c.at(func(s *settings.Settings) { s.Entra.CA = "" }), doctor.Request{})
	c.wants(text, "fail entra: ")
	if report.Rejected {
		t.Errorf("nobody answered, and that counts as a refusal:\n%s", text)
	}
}

func TestVaultOpensOrNot(t *testing.T) {
	c := newClinic(t)
	same := func(*settings.Settings) {}
	text, _ := c.examine(c.at(same), doctor.Request{})
	c.wants(text, "warn vault: there is none")
	if _, err := os.Stat(filepath.Join(c.dir, "desk", "keys.db")); err == nil {
		t.Error("the doctor made a vault")
	}
	right, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		file := filepath.Join(c.dir, name)
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	d := c.at(same)
	vault, err := d.Vault(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, _ = c.examine(d, doctor.Request{})
	c.wants(text, "warn vault: 0 keys known, 0 passwords held, and nothing to lock passwords with")
	if err := vault.ProtectWithRecipients(t.Context(), "right", right.Recipient()); err != nil {
		t.Fatal(err)
	}
	if err := vault.Add(t.Context(), bitlocker.KeyRef{ID: "4C4B6D8A-1F2E-4D3C-9B8A-0123456789AB", Source: "ad:fleet.test", SourceKey: "1"}); err != nil {
		t.Fatal(err)
	}
	text, _ = c.examine(d, doctor.Request{})
	c.wants(text, "ok vault: 1 key known, 0 passwords held; a person opens it, which was not tried", "warn vault: ad:fleet.test: 1 key, never read")
	good, bad := write("right.txt", right.String()), write("other.txt", other.String())
	d = c.at(func(s *settings.Settings) { s.Keys.Identity = good })
	text, _ = c.examine(d, doctor.Request{})
	c.wants(text, "ok vault: 1 key known, 0 passwords held; keys.identity opens it")
	if vault, err = d.Vault(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, err := vault.Status(t.Context()); err != nil || status.Unlocked {
		t.Errorf("the doctor left the vault open: %+v %v", status, err)
	}
	text, _ = c.examine(c.at(func(s *settings.Settings) { s.Keys.Identity = bad }), doctor.Request{})
	c.wants(text, "fail vault: keys.identity does not open it")
}

func TestMachinesAndPlaybooks(t *testing.T) {
	c := newClinic(t)
	d := c.at(func(*settings.Settings) {})
	store, err := d.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var records []inventory.Record
	for _, m := range c.fleet.Machines() {
		records = append(records, inventory.Record{SourceKey: m.Name, SeenAt: time.Now(), Fields: map[string]string{"name": m.Name, "address": m.Address}})
	}
	records = append(records, inventory.Record{SourceKey: "DEAD", Fields: map[string]string{"name": "DEAD", "address": "127.0.0.1:1"}})
	records = append(records, inventory.Record{SourceKey: "GONE", Gone: true, Fields: map[string]string{"name": "GONE", "address": "127.0.0.1:1"}})
	if _, err := store.Import(t.Context(), "csv:machines.csv", records); err != nil {
		t.Fatal(err)
	}
	text, _ := c.examine(d, doctor.Request{On: "DEAD"})
	c.wants(text, "warn machines: WinRM of DEAD does not answer", "ok inventory: csv:machines.csv: 31 records", "ok playbooks: ")
	text, _ = c.examine(d, doctor.Request{On: "GONE"})
	c.wants(text, "warn machines: WinRM of GONE does not answer")
	text, _ = c.examine(d, doctor.Request{On: "all", Playbook: "no-such-playbook"})
	c.wants(text, "ok machines: 5 machines of 31 are asked", "fail playbook: ")
	text, _ = c.examine(d, doctor.Request{Playbook: "crowdstrike-channel-file-291"})
	c.wants(text, "ok playbook: crowdstrike-channel-file-291 is in order and needs nothing to be given")
	for selector, refused := range map[string]func(error) bool{
		"NOBODY-*": func(err error) bool { _, is := errors.AsType[*machines.NoMachineError](err); return is },
		"NOBODY":   func(err error) bool { _, is := errors.AsType[*inventory.UnknownMachinesError](err); return is }, "site =": hint.IsMistake,
	} {
		if report, err := doctor.Examine(t.Context(), d, doctor.Request{On: selector}); !refused(err) || len(report.Findings) > 0 {
			t.Errorf("%s: %v, %d findings", selector, err, len(report.Findings))
		}
	}
	text, _ = c.examine(c.at(func(s *settings.Settings) { *s = settings.Settings{} }), doctor.Request{})
	c.wants(text, "warn settings: ", "warn directory: ", "warn winrm: ")
}
