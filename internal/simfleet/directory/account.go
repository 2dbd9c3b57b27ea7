package directory

import (
	"crypto/subtle"
	"strings"

	"github.com/fleetmend/fleetmend/internal/secret"
)

// Account is somebody who may sign in.
type Account struct {
	User     string // sAMAccountName; FLEET\user, user@fleet.test and CN=user,CN=Users,... mean it too
	Password secret.String
	Rights   Rights
	// Refuse is the code AD puts into its error although the password is right: 532 expired, 533 disabled, 773 must be
	// changed, 775 locked. Empty for an account in order.
	Refuse string
	// Check replaces the comparison with Password, for accounts with a lockout counter of their own.
	Check func(password string) bool
}

func (a *Account) accepts(password string) bool {
	if a.Check != nil {
		return a.Check(password)
	}
	return subtle.ConstantTimeCompare([]byte(password), []byte(a.Password.Reveal())) == 1
}

// named reports whether a bind name means this account.
func (a *Account) named(name, netbios, dns string) bool {
	if domain, user, ok := strings.Cut(name, `\`); ok {
		return strings.EqualFold(domain, netbios) && strings.EqualFold(user, a.User)
	}
	if user, suffix, ok := strings.Cut(name, "@"); ok {
		return strings.EqualFold(user, a.User) && (strings.EqualFold(suffix, dns) || strings.EqualFold(suffix, netbios))
	}
	return normalDN(name) == normalDN("CN="+a.User+",CN=Users,"+DomainDN(dns))
}

// badCredentials is AD's answer to a bind it refuses; code is the Windows error in hexadecimal.
func badCredentials(code string) result {
	return result{code: resultInvalidCredentials, text: "80090308: LdapErr: DSID-0C09050F, comment: AcceptSecurityContext error, data " + code + ", v4f7c"}
}

// logon checks name and password.
func (s *Server) logon(name, password string) (*Account, result) {
	for i := range s.config.Accounts {
		a := &s.config.Accounts[i]
		if !a.named(name, s.config.NetBIOS, s.config.Tree.dns) {
			continue
		}
		switch {
		case !a.accepts(password):
			return nil, badCredentials("52e")
		case a.Refuse != "":
			return nil, badCredentials(a.Refuse)
		}
		return a, result{}
	}
	return nil, badCredentials("52e") // AD does not tell an unknown account from a wrong password
}
