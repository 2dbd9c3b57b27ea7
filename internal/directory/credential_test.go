package directory

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
)

// TestUserNamesThatNobodyKnowsAreNotSent: a domain controller counts each of them as a wrong password.
func TestUserNamesThatNobodyKnowsAreNotSent(t *testing.T) {
	for _, c := range []struct {
		method  Method
		user    string
		advice  string // empty: the name is taken
		keytab  string
		trouble string
	}{
		{SimpleLDAPS, "reader", `write reader@corp.example or CORP\reader`, "", "without its domain"},
		{SimpleStartTLS, "CORP/reader", `write reader@corp.example or CORP\reader`, "", "no form of a user"},
		{KerberosSeal, "CORP/reader", `write reader@corp.example or CORP\reader`, "", "no form of a user"},
		{KerberosLDAPS, "CORP/reader", `write reader@corp.example or CORP\reader`, "", "no form of a user"},
		{SimpleLDAPS, "reader@corp.example", "", "", ""},
		{SimpleLDAPS, `CORP\reader`, "", "", ""},
		{SimpleLDAPS, `CORP\a/b`, "", "", ""},
		{SimpleLDAPS, "CN=Reader,OU=A/B,DC=corp,DC=example", "", "", ""},
		{KerberosSeal, "reader", "", "", ""},
		{KerberosSeal, "HTTP/ws.corp.example", "", "ws.keytab", ""},
	} {
		dialled := false
		conf := Config{Domain: "corp.example", Method: c.method, DCs: []DC{{Host: "dc1.corp.example"}}, Credential: Credential{User: c.user, Password: secret.New("p"), Keytab: c.keytab},
			DialTCP: func(context.Context, string, string) (net.Conn, error) {
				dialled = true
				return nil, errors.New("no network")
			}}
		_, err := Dial(t.Context(), conf)
		taken := dialled || c.keytab != "" && err != nil && strings.Contains(err.Error(), "read keytab")
		if refused := c.advice != ""; taken == refused || refused && (!strings.Contains(err.Error(), c.trouble) || !strings.Contains(strings.Join(hint.Of(err), " "), c.advice)) {
			t.Errorf("%s as %s: taken %t, %v, %q", c.method, c.user, taken, err, hint.Of(err))
		}
	}
}
