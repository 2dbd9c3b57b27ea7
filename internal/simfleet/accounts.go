package simfleet

import (
	"crypto/subtle"
	"strings"
	"sync"

	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/simfleet/ntlm"
)

// account is the fleet's one domain account with its lockout counter, as a domain controller keeps it.
type account struct {
	user, domain, dnsDomain string
	password                secret.String
	hash                    [16]byte
	threshold               int // failures in a row that lock it; 0 never

	mu     sync.Mutex
	failed int
	locked bool
}

func newAccount(user, domain, dnsDomain string, password secret.String, threshold int) *account {
	return &account{user: user, domain: domain, dnsDomain: dnsDomain, password: password, hash: ntlm.Hash(password.Reveal()), threshold: threshold}
}

// named reports whether user and domain mean this account: FLEET\admin, admin@fleet.test, or admin alone.
func (a *account) named(user, domain string) bool {
	if domain == "" {
		if name, suffix, ok := strings.Cut(user, "@"); ok {
			user, domain = name, suffix
		}
	}
	return strings.EqualFold(user, a.user) && (domain == "" || strings.EqualFold(domain, a.domain) || strings.EqualFold(domain, a.dnsDomain))
}

// lookup gives NTLM the hash, and nothing while the account is locked.
func (a *account) lookup(user, domain string) ([16]byte, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.locked || !a.named(user, domain) {
		return [16]byte{}, false
	}
	return a.hash, true
}

// basic checks the user name and password of a Basic header.
func (a *account) basic(user, password string) bool {
	domain := ""
	if d, name, ok := strings.Cut(user, `\`); ok {
		user, domain = name, d
	}
	_, ok := a.lookup(user, domain)
	return subtle.ConstantTimeCompare([]byte(password), []byte(a.password.Reveal())) == 1 && ok
}

// record counts a logon of this account. A right password clears the counter, as on Windows.
func (a *account) record(ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ok {
		a.failed = 0
		return
	}
	a.failed++
	if a.threshold > 0 && a.failed >= a.threshold {
		a.locked = true
	}
}

func (a *account) state() (failed int, locked bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed, a.locked
}

// full is the name that a shell's owner is known by.
func (a *account) full() string { return a.domain + `\` + a.user }
