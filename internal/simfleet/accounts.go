package simfleet

import (
	"crypto/subtle"
	"fmt"
	"strings"
	"sync"

	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/simfleet/ntlm"
)

// account is the account of one domain of the fleet with its lockout counter, as that domain's controller keeps it.
type account struct {
	user, domain, dnsDomain string
	threshold               int // failures in a row that lock it; 0 never

	mu       sync.Mutex
	password secret.String
	hash     [16]byte
	failed   int
	locked   bool

	accepted, wrong, refused, unanswered int // ever
}

// Account is what became of the sign-ins of one account.
type Account struct {
	Domain     string `json:"domain"`
	User       string `json:"user"`
	Accepted   int    `json:"accepted"`   // sign-ins with the right password, also those that were not answered
	Wrong      int    `json:"wrong"`      // sign-ins with a wrong password, or while it was locked: these count for the lockout
	Refused    int    `json:"refused"`    // sign-ins answered with 401, by whatever cause: wrong ones, and those of machines that reject a good account
	Unanswered int    `json:"unanswered"` // sign-ins after which the machine cut the line
	InARow     int    `json:"in_a_row"`   // wrong ones since the last right one
	Lockout    int    `json:"lockout"`    // how many in a row lock it; 0 none
	Locked     bool   `json:"locked"`
}

func newAccount(user, domain, dnsDomain string, password secret.String, threshold int) *account {
	return &account{user: user, domain: domain, dnsDomain: dnsDomain, password: password, hash: ntlm.Hash(password.Reveal()), threshold: max(threshold, 0)}
}

func (a *account) isIn(domain string) bool {
	return strings.EqualFold(domain, a.domain) || strings.EqualFold(domain, a.dnsDomain)
}

// lookup gives NTLM the hash, and nothing while the account is locked.
func (a *account) lookup() ([16]byte, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hash, !a.locked
}

// right checks a password.
func (a *account) right(password string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return subtle.ConstantTimeCompare([]byte(password), []byte(a.password.Reveal())) == 1 && !a.locked
}

// record counts a logon of this account. A right password clears the counter, as on Windows.
func (a *account) record(ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ok {
		a.accepted++
		a.failed = 0
		return
	}
	a.wrong++
	a.refused++
	a.failed++
	if a.threshold > 0 && a.failed >= a.threshold {
		a.locked = true
	}
}

// turnedAway counts a sign-in that a machine answered with 401 without asking a controller.
func (a *account) turnedAway() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused++
}

// leftUnanswered counts a sign-in after which the line was cut.
func (a *account) leftUnanswered(wrong bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unanswered++
	if wrong {
		a.refused-- // the machine knows, the client does not
	}
}

func (a *account) change(password secret.String) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.password, a.hash = password, ntlm.Hash(password.Reveal())
}

func (a *account) current() secret.String {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.password
}

func (a *account) unlock() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed, a.locked = 0, false
}

func (a *account) state() Account {
	a.mu.Lock()
	defer a.mu.Unlock()
	return Account{
		Domain: a.domain, User: a.user, Accepted: a.accepted, Wrong: a.wrong, Refused: a.refused, Unanswered: a.unanswered,
		InARow: a.failed, Lockout: a.threshold, Locked: a.locked,
	}
}

// full is the name that a shell's owner is known by.
func (a *account) full() string { return a.domain + `\` + a.user }

// Accounts tells what became of the sign-ins of the account in each domain, the fleet's first.
func (f *Fleet) Accounts() []Account {
	out := make([]Account, len(f.logins))
	for i, a := range f.logins {
		out[i] = a.state()
	}
	return out
}

// ChangePassword gives the account of a domain another password, as an administrator would in the middle of a run; "" is the
// first domain. Who is signed in stays so. The files that [Fleet.Write] left keep the old one.
func (f *Fleet) ChangePassword(domain string, password secret.String) error {
	a, err := f.login(domain)
	if err == nil {
		a.change(password)
	}
	return err
}

// Unlock unlocks the account of a domain; "" is the first.
func (f *Fleet) Unlock(domain string) error {
	a, err := f.login(domain)
	if err == nil {
		a.unlock()
	}
	return err
}

func (f *Fleet) login(domain string) (*account, error) {
	for _, a := range f.logins {
		if domain == "" || a.isIn(domain) {
			return a, nil
		}
	}
	return nil, fmt.Errorf("no simulated domain %q", domain)
}

// meant is the account that a machine takes a name for: FLEET\admin, admin@fleet.test, or admin alone, which is its own
// domain's; nil for none. Where the domain of a name is not trusted, the machine's own controller judges the name, and counts.
func (h *host) meant(user, domain string) *account {
	if name, suffix, ok := strings.Cut(user, "@"); ok && domain == "" {
		user, domain = name, suffix
	}
	named := h.account
	if domain != "" {
		named, _ = h.fleet.login(domain)
	}
	if named == nil || !strings.EqualFold(user, named.user) {
		return nil
	}
	if h.account == h.fleet.untrusting() {
		return h.account
	}
	return named
}

// untrusting is the account of the domain that trusts no other; nil for none.
func (f *Fleet) untrusting() *account {
	if !f.options.Distrust {
		return nil
	}
	return f.logins[len(f.logins)-1]
}
