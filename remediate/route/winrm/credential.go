package winrm

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// Credential is an account that may manage machines. It is immutable and prints no password.
type Credential struct {
	User     string // account, or a user principal name (name@realm) with an empty Domain
	Domain   string // NetBIOS or DNS name of the domain; "" for an account of the machine itself and for a principal name
	Password secret.String
	Own      bool // the password is that of this one machine
}

// ParseUser splits what an administrator types: DOMAIN\user, .\user (an account of each machine), user@domain or user.
// A principal name stays whole, because Windows looks it up as it is and its suffix need not be the domain's name.
func ParseUser(name string) (user, domain string, err error) {
	name = strings.TrimSpace(name)
	if before, after, ok := strings.Cut(name, `\`); ok {
		user, domain = strings.TrimSpace(after), strings.TrimSpace(before)
		if domain == "." {
			domain = ""
		} else if domain == "" {
			return "", "", fmt.Errorf("parse user %q: the domain before the backslash is empty", name)
		}
	} else {
		user = name
	}
	switch {
	case user == "":
		return "", "", fmt.Errorf("parse user %q: no user name", name)
	case strings.Contains(user, `\`):
		return "", "", fmt.Errorf("parse user %q: more than one backslash", name)
	case strings.ContainsAny(name, "\r\n\x00"):
		return "", "", fmt.Errorf("parse user %q: control characters", name)
	}
	return user, domain, nil
}

// account is the name as it is shown to people.
func (c Credential) account() string {
	if c.Domain == "" {
		return c.User
	}
	return c.Domain + `\` + c.User
}

// basic is the header for Basic.
func (c Credential) basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.account()+":"+c.Password.Reveal()))
}

// signsIn says for the ledger what is sent to a machine, and what its answer is worth.
func (c *Config) signsIn(credential Credential, t route.Target, in domainNames) route.Account {
	a := credential.signsIn(t, in)
	a.Key, a.Word = credential.key(a), !c.seals()
	return a
}

// AccountKey is what all spellings of an account of a domain have in common, for the ledger: user and first label of the domain.
func AccountKey(name string) string {
	user, domain, err := ParseUser(name)
	if err != nil {
		return strings.ToLower(name)
	}
	return Credential{User: user, Domain: domain}.key(route.Account{Name: name})
}

// key is the same for FLEET\admin, fleet.test\Admin and admin@fleet.test: user and first label of the domain, which is its NetBIOS name
// unless somebody chose another. It does not depend on what a machine says of its domain: that would be another key in each domain.
func (c Credential) key(as route.Account) string {
	user, domain, _ := strings.Cut(c.User, "@")
	if c.Domain != "" {
		user, domain = c.User, c.Domain
	}
	if c.Own || domain == "" {
		return strings.ToLower(as.Name)
	}
	label, _, _ := strings.Cut(domain, ".")
	return strings.ToLower(label + `\` + user)
}

// signsIn says for the ledger what is sent to a machine that names its domain.
func (c Credential) signsIn(t route.Target, in domainNames) route.Account {
	user, suffix, principal := strings.Cut(c.User, "@")
	switch {
	case c.Own:
		return route.Account{Name: t.Name + `\` + user, Domain: t.Name, Home: true, Own: true}
	case c.Domain == "" && !principal: // one password at every machine
		return route.Account{Name: c.User, Home: true}
	case principal && c.Domain == "":
		return route.Account{Name: c.User, Domain: in.name(), Home: in == domainNames{} || in.is(suffix)}
	}
	return route.Account{Name: c.account(), Domain: in.name(), Home: in == domainNames{} || in.is(c.Domain)}
}
