package directory_test

import (
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/internal/directory/dclab"
)

// Whatever way a password goes to a domain controller, the guard is asked once before, and told what became of it; where it keeps the
// password back no other controller gets it.
func TestEveryPasswordPassesTheGuard(t *testing.T) {
	lab.Need(t)
	for _, method := range directory.Methods() {
		for _, c := range []struct {
			password string
			barred   error
			want     []directory.Verdict
			kind     directory.Kind
		}{
			{dclab.AdminPW, nil, []directory.Verdict{"asked", directory.Accepted}, ""},
			{"wrong", nil, []directory.Verdict{"asked", directory.Refused}, directory.WrongPassword},
			{"wrong", errors.New("not again"), []directory.Verdict{"asked"}, directory.Barred},
		} {
			var got []directory.Verdict
			config := lab.Config(t, method, dclab.Admin, c.password)
			config.DCs = append(config.DCs, config.DCs...)
			config.Guard = func(directory.DC) (func(directory.Verdict), error) {
				got = append(got, "asked")
				return func(v directory.Verdict) { got = append(got, v) }, c.barred
			}
			conn, err := directory.Dial(t.Context(), config)
			if err == nil {
				_ = conn.Close() //nolint:errcheck // it has done its work
			}
			if !slices.Equal(got, c.want) || (err == nil) != (c.kind == "") || err != nil && directory.KindOf(err) != c.kind || c.barred != nil && !errors.Is(err, c.barred) {
				t.Errorf("%s, %s: %v, %v", method, c.password, got, err)
			}
		}
	}
}

// TestAWrongPasswordCountsOnce at the domain itself, whatever number of domain controllers could be asked.
func TestAWrongPasswordCountsOnce(t *testing.T) {
	lab.Need(t)
	threshold := func(n string) {
		t.Helper()
		if out, err := exec.Command("samba-tool", "domain", "passwordsettings", "set", "--account-lockout-threshold="+n, "--configfile="+filepath.Join(lab.Dir, "smb.conf")).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	threshold("50") // a domain that locks nobody counts nothing
	defer threshold("0")
	admin := lab.Dial(t, lab.Config(t, directory.KerberosSeal, dclab.Admin, dclab.AdminPW))
	counted := func() (out int64) {
		t.Helper()
		_, err := admin.Search(t.Context(), directory.Query{Filter: "(sAMAccountName=helpdesk)", Attributes: []string{"badPwdCount"}}, func(e *directory.Entry) error {
			var err error
			out, err = strconv.ParseInt(e.Text("badPwdCount"), 10, 64)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	before := counted()
	for i, user := range []string{"helpdesk", "helpdesk@fleet.test", `FLEET\helpdesk`} {
		config := lab.Config(t, directory.KerberosSeal, user, "wrong")
		config.DCs = append(config.DCs, config.DCs...)
		_, err := directory.Dial(t.Context(), config)
		if directory.KindOf(err) != directory.WrongPassword || !strings.Contains(err.Error(), "the password of helpdesk@FLEET.TEST is wrong (dc1.fleet.test says so; tried once)") {
			t.Fatal(err)
		}
		if rose := counted() - before; rose != int64(i)+1 {
			t.Errorf("%d wrong sign-ins count %d", i+1, rose)
		}
	}
}
