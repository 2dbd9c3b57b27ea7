package winrm

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"

	"github.com/fleetmend/fleetmend/internal/secret"
)

// Credential is an account that may manage machines. It is immutable and prints no password.
type Credential struct {
	User     string // account, or a user principal name (name@realm) with an empty Domain
	Domain   string // NetBIOS or DNS name of the domain; "" for an account of the machine itself and for a principal name
	Password secret.String
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

// breakerSalt makes the keys of this process useless to anyone who finds one in a dump.
var breakerSalt = sync.OnceValue(func() []byte {
	salt := make([]byte, 32)
	_, _ = rand.Read(salt) // never fails: crypto/rand aborts the process instead
	return salt
})

// BreakerKey identifies the account together with this very password, so that a changed password is a new start. It
// holds no password and is valid within this process only.
func (c Credential) BreakerKey() string {
	mac := hmac.New(sha256.New, breakerSalt())
	mac.Write([]byte(strings.ToUpper(c.Domain) + "\x00" + strings.ToUpper(c.User) + "\x00" + c.Password.Reveal()))
	return string(mac.Sum(nil))
}
