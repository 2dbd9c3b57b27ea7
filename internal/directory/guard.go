package directory

import (
	"errors"

	"github.com/go-ldap/ldap/v3"

	"github.com/fleetmend/fleetmend/internal/kerberos"
)

// Verdict is what became of a password or key that was sent to a domain controller.
type Verdict string

// The verdicts.
const (
	Accepted   Verdict = "accepted"
	Refused    Verdict = "refused"    // it is wrong: the domain counts it
	Unjudged   Verdict = "unjudged"   // the account is locked, disabled or expired, or the way of signing in is not taken: it counts nothing
	Unanswered Verdict = "unanswered" // nobody knows
)

// Guard is asked right before a password or a key leaves for a domain controller. What it returns is told once what became of it; an
// error keeps it back. Tickets need none.
type Guard func(dc DC) (settle func(Verdict), err error)

// counted sends a secret, with the guard before and behind it. The error of send is explained.
func (c *Conn) counted(send func() error) error {
	guard := c.config.Guard
	if guard == nil {
		return send()
	}
	settle, err := guard(c.DC)
	if err != nil {
		return &Error{Kind: Barred, Err: err}
	}
	err = explain(send(), c.DC.String())
	settle(verdict(err))
	return err
}

// VerdictOf is what an error of Kerberos says of the secret that was sent; nil: it was taken.
func VerdictOf(err error) Verdict { return verdict(explain(err, "")) }

// verdict reads an explained error of a bind.
func verdict(err error) Verdict {
	var krb *kerberos.Error
	var answer *ldap.Error
	switch {
	case err == nil:
		return Accepted
	case KindOf(err) == WrongPassword:
		return Refused
	case errors.As(err, &answer) && answer.ResultCode < ldap.ErrorNetwork, errors.As(err, &krb) && krb.Code != 0:
		return Unjudged
	}
	return Unanswered
}
