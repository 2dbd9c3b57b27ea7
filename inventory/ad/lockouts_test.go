package ad_test

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/internal/directory/dclab"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/inventory/ad"
)

// tool runs samba-tool on the database of the laboratory.
func tool(t *testing.T, args ...string) {
	t.Helper()
	args = append(args, "-H", filepath.Join(lab.Dir, "private", "sam.ldb"), "--configfile="+filepath.Join(lab.Dir, "smb.conf"))
	if out, err := exec.Command("samba-tool", args...).CombinedOutput(); err != nil {
		t.Fatalf("samba-tool %v: %v\n%s", args, err, out)
	}
}

// TestWhenSambaLocksAccounts: the policy of the domain, one of its own for an account, and what an ordinary user sees of both.
func TestWhenSambaLocksAccounts(t *testing.T) {
	lab.Need(t)
	tool(t, "domain", "passwordsettings", "set", "--account-lockout-threshold=10", "--account-lockout-duration=20", "--reset-account-lockout-after=15")
	t.Cleanup(func() {
		tool(t, "domain", "passwordsettings", "set", "--account-lockout-threshold=0", "--account-lockout-duration=30", "--reset-account-lockout-after=30")
	})
	tool(t, "domain", "passwordsettings", "pso", "create", "few", "5", "--account-lockout-threshold=4", "--account-lockout-duration=0", "--reset-account-lockout-after=40")
	tool(t, "domain", "passwordsettings", "pso", "apply", "few", "helpdesk")
	t.Cleanup(func() { tool(t, "domain", "passwordsettings", "pso", "delete", "few") })
	store, err := inventory.Open(t.Context(), filepath.Join(t.TempDir(), "inventory.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() //nolint:errcheck // a test's own
	accounts := []string{`FLEET\Administrator`, "helpdesk@fleet.test", `CORP\ada`, `FLEET\nobody`, ""}
	s := ad.Source{Config: lab.Config(t, directory.KerberosSeal, dclab.Admin, dclab.AdminPW), Accounts: accounts}
	if _, _, err := s.Sync(t.Context(), store, true); err != nil {
		t.Fatal(err)
	}
	all, err := store.Lockouts(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("%+v %v", all, err)
	}
	l := all[0]
	domain, few := inventory.Lockout{Threshold: 10, Window: 15 * time.Minute, Duration: 20 * time.Minute}, inventory.Lockout{Threshold: 4, Window: 40 * time.Minute}
	if l.DNS != dclab.Domain || l.NetBIOS != "FLEET" || l.Domain != domain || l.Hidden || len(l.Own) != 2 || l.Own["administrator"] != domain || l.Own["helpdesk"] != few || time.Since(l.ReadAt) > time.Hour {
		t.Errorf("%+v", l)
	}
	// An ordinary user may not see what is in a policy: what holds for the domain is not taken for it.
	conn, err := directory.Dial(t.Context(), lab.Config(t, directory.KerberosSeal, "helpdesk@fleet.test", "Passw0rd!Help"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // a test's own
	l, err = ad.Lockouts(t.Context(), conn, accounts)
	if own, ok := l.Own["helpdesk"]; err != nil || l.Domain != domain || ok && own != few {
		t.Errorf("%+v %v", l, err)
	}
}
