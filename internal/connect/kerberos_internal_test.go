package connect

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/kerberos/mitlab"
	"github.com/fleetmend/fleetmend/internal/settings"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// counter is a ledger that lets everything pass and writes down what it is told.
type counter struct{ told []string }

func (c *counter) Try(_ context.Context, a route.Account, t route.Target, _ route.Ask) (route.Trial, error) {
	c.told = append(c.told, a.Key+" at "+t.ID)
	return c, nil
}
func (c *counter) Wait() time.Duration           { return 0 }
func (c *counter) Taken() bool                   { return false }
func (c *counter) Accepted()                     { c.told = append(c.told, "accepted") }
func (c *counter) Refused(context.Context) error { c.told = append(c.told, "refused"); return nil }
func (c *counter) Unanswered()                   { c.told = append(c.told, "unanswered") }
func (c *counter) Unjudged()                     { c.told = append(c.told, "unjudged") }

// TestKerberosCountsInTheLedger: what is sent to a Kerberos server for the account of machines is counted like all else, once per verdict;
// nothing is counted where no secret leaves.
func TestKerberosCountsInTheLedger(t *testing.T) {
	lab := mitlab.Start(t, "")
	lab.Run(t, mitlab.Password+"\n", "kinit", "-c", "FILE:"+lab.Dir+"/cache", "user18@"+mitlab.Realm)
	asked := `mit\user18 at dc:kdc.mit.test`
	for name, c := range map[string]struct {
		winrm    settings.WinRM
		password string
		want     []string
		barred   bool
	}{
		"right":    {settings.WinRM{User: "user18@mit.test"}, mitlab.Password, []string{asked, "accepted"}, false},
		"wrong":    {settings.WinRM{User: "user18@mit.test"}, "wrong", []string{asked, "refused"}, true},
		"expired":  {settings.WinRM{User: "expired@mit.test"}, mitlab.Password, nil, true},
		"unknown":  {settings.WinRM{User: "nobody@mit.test"}, mitlab.Password, nil, true},
		"keytab":   {settings.WinRM{User: "user18@mit.test", Keytab: lab.Dir + "/user.keytab"}, "", []string{asked, "accepted"}, false},
		"cache":    {settings.WinRM{CCache: lab.Dir + "/cache"}, "", nil, false},
		"NetBIOS":  {settings.WinRM{User: `MIT\user18`}, mitlab.Password, []string{asked, "accepted"}, false},
		"no realm": {settings.WinRM{User: "user18"}, mitlab.Password, []string{`mit\user18 at dc:kdc.mit.test`, "accepted"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c.winrm.Auth = "kerberos"
			if c.password != "" {
				c.winrm.PasswordFile = filepath.Join(t.TempDir(), "password")
				if err := os.WriteFile(c.winrm.PasswordFile, []byte(c.password), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			ledger := &counter{}
			connector := New(Options{
				Settings: settings.Settings{WinRM: c.winrm, Kerberos: settings.Kerberos{KDCs: []string{"kdc.mit.test=" + lab.Address}}, Directory: settings.Directory{Domain: "mit.test"}},
				Ledger:   func(context.Context, string, string) (route.Ledger, string, error) { return ledger, "MIT", nil },
			})
			how := RouteOptions{}
			if name == "right" { // as a run hands it over
				connector.Ledger, how.Ledger = nil, ledger
			}
			r, err := winrmRoute(t.Context(), connector, how)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if err := r.(route.Prover).Prove(t.Context(), route.Account{}); (route.BarredBy(err) != nil) != c.barred || err != nil != c.barred {
					t.Fatal(err)
				}
			}
			if !slices.Equal(ledger.told, c.want) {
				t.Errorf("%q", ledger.told)
			}
		})
	}
}
