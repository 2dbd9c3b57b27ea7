package kerberos

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/messages"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/prose"
)

// Reason sorts the failures a caller may branch on.
type Reason string

// The reasons. Those up to ClockSkew are the trouble of the account or of this computer; the rest that of one service.
const (
	WrongSecret    Reason = "wrong-secret"    // password or key
	UnknownUser    Reason = "unknown-user"    // nothing secret was sent
	Revoked        Reason = "revoked"         // locked, disabled or expired
	Expired        Reason = "expired"         // the password
	Policy         Reason = "policy"          // the domain does not let the account in so
	WrongRealm     Reason = "wrong-realm"     // the account belongs to another domain
	NoSecret       Reason = "no-secret"       // keytab or ticket cache has nothing that helps
	Silent         Reason = "silent"          // no KDC answered
	Barred         Reason = "barred"          // kept back by the guard: nothing was sent
	ClockSkew      Reason = "clock-skew"      // see Skew
	UnknownService Reason = "unknown-service" // none of the names
	NoAES          Reason = "no-aes"          // the account or machine offers RC4 only
	BrokenTrust    Reason = "broken-trust"    // the service cannot read its ticket
	Unproven       Reason = "unproven"        // the service could not prove who it is
	Other          Reason = "other"
)

// Error is a failure of Kerberos. It says what happened and to whom; a hint says what next.
type Error struct {
	Reason Reason
	Code   int           // of RFC 4120 section 7.5.9; 0: no KDC and no service said it
	KDC    string        // who said it; empty: a service, or nobody
	Skew   time.Duration // the other clock minus ours, where known
	Err    error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ReasonOf gives the reason of the first [Error] in err's chain, or [Other].
func ReasonOf(err error) Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return Other
}

// Final reports whether the account itself was judged: nothing made of its secret is sent again.
func (r Reason) Final() bool {
	switch r {
	case WrongSecret, UnknownUser, Revoked, Expired, Policy, WrongRealm, NoSecret:
		return true
	}
	return false
}

// Codes of RFC 4120 section 7.5.9 and RFC 6806.
const (
	codeUnknownClient  = 6
	codeUnknownService = 7
	codePolicy         = 12
	codeNoCipher       = 14
	codeRevoked        = 18
	codeExpired        = 23
	codeFailed         = 24
	codeRequired       = 25
	codeIntegrity      = 31
	codeTicketExpired  = 32
	codeSkew           = 37
	codeModified       = 41
	codeMustUse        = 48
	codeWrongRealm     = 68
	codeMoreData       = 91
)

// failed is an error in words. advice may be empty.
func failed(r Reason, advice, format string, args ...any) *Error {
	return &Error{Reason: r, Err: hint.Wrap(fmt.Errorf(format, args...), advice)}
}

// refusal says what a KDC's error about the account means.
func (a *Account) refusal(e *messages.KRBError, kdc string) *Error {
	var out *Error
	switch name := a.Name(); int(e.ErrorCode) {
	case codeUnknownClient:
		if a.name.NameType == nameEnterprise {
			out = failed(WrongRealm, "check the spelling; write the user without a realm, or connect to its own domain", "%s knows neither the user %s nor a realm of that name", kdc, name)
			break
		}
		out = failed(UnknownUser, "check the spelling and the domain of the user; nothing secret was sent", "%s does not know the user %s", kdc, name)
	case codeFailed, codeIntegrity:
		out = a.wrong(kdc)
	case codeRevoked:
		out = failed(Revoked, "unlock or enable it (Unlock-ADAccount), or use another account", "%s is locked, disabled or expired (%s says so)", name, kdc)
	case codeExpired:
		out = failed(Expired, "change it, or use another account", "the password of %s has expired (%s says so)", name, kdc)
	case codePolicy, codeMustUse, codeMoreData, codeRequired:
		out = failed(Policy, "see the logon hours and workstations of the account; where the domain wants armoring, sign in with a ticket of kinit (ccache) or as the logged-on user",
			"the domain refuses this logon (policy or armoring): %s at %s", name, kdc)
	case codeNoCipher:
		out = a.oldOnly()
	case codeWrongRealm:
		out = failed(WrongRealm, "write the user as user@REALM of its own domain", "the user %s belongs to another Kerberos realm than %s (%s says so)", name, a.config.Realm, kdc)
	case codeSkew:
		out = a.skewed(kdc, e.STime)
	default:
		out = failed(Other, "", "%s refuses %s: %s", kdc, name, said(e))
	}
	out.Code, out.KDC = int(e.ErrorCode), kdc
	return out
}

// oldOnly is an account without a key of AES.
func (a *Account) oldOnly() *Error {
	return failed(NoAES, "allow AES for it (msDS-SupportedEncryptionTypes 24), then change its password", "%s offers RC4 only", a.Name())
}

// wrong is a password, or a key, that is not that of the account.
func (a *Account) wrong(kdc string) *Error {
	if a.credential.Keytab != "" {
		return failed(WrongSecret, "the password was changed since: write the keytab anew", "the key of %s in the keytab is wrong (%s says so; tried once)", a.Name(), kdc)
	}
	return failed(WrongSecret, "check it before trying again: the account locks after a few failures", "the password of %s is wrong (%s says so; tried once)", a.Name(), kdc)
}

// skewed is a clock that is further off than the protocol can bridge.
func (a *Account) skewed(kdc string, stime time.Time) *Error {
	skew := time.Duration(0)
	if !stime.IsZero() {
		skew = stime.Sub(a.config.now())
	}
	e := failed(ClockSkew, "set the clock of this computer", "this computer's clock is %s %s", Apart(-skew, "ahead of", "behind"), kdc)
	e.Skew = skew
	return e
}

// Apart writes how far a clock is ahead (positive) or behind, in whole minutes where it is far.
func Apart(d time.Duration, ahead, behind string) string {
	word := ahead
	if d < 0 {
		d, word = -d, behind
	}
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days %s", int((d+12*time.Hour)/(24*time.Hour)), word)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d h %s", int((d+30*time.Minute)/time.Hour), word)
	case d >= time.Minute:
		return fmt.Sprintf("%d min %s", int((d+30*time.Second)/time.Minute), word)
	}
	return fmt.Sprintf("%d s %s", int(d/time.Second), word)
}

// said is an error of which nothing better is known.
func said(e *messages.KRBError) string {
	text := fmt.Sprintf("Kerberos error %d", e.ErrorCode)
	if e.EText != "" {
		text += " (" + prose.Short(e.EText, 100) + ")"
	}
	return text
}

// joinNames writes the kinds of names that were asked for: "HTTP/ or WSMAN/".
func joinNames(names []string) (kinds, host string) {
	var list []string
	for _, n := range names {
		kind, rest, _ := strings.Cut(n, "/")
		list, host = append(list, kind+"/"), rest
	}
	return strings.Join(list, " or "), host
}
