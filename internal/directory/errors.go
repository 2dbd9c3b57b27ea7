package directory

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/kerberos"
	"github.com/fleetmend/fleetmend/internal/lazyregexp"
)

// Kind sorts the failures a caller may branch on.
type Kind string

// The kinds.
const (
	NoDC              Kind = "no-dc"            // discovery found none
	Unreachable       Kind = "unreachable"      // none of them answered; see Attempts
	Plaintext         Kind = "plaintext"        // refused by us
	Barred            Kind = "barred"           // kept back by the guard: nothing was sent
	WrongPassword     Kind = "wrong-password"   // or unknown user
	PasswordExpired   Kind = "password-expired" //
	Locked            Kind = "locked"           //
	Disabled          Kind = "disabled"         // or expired account, or not allowed now or from here
	ClockSkew         Kind = "clock-skew"       // see Skew
	WrongRealm        Kind = "wrong-realm"      //
	UnknownService    Kind = "unknown-service"  // the DC's name has no Kerberos principal
	UntrustedCA       Kind = "untrusted-ca"     // see Issuer
	StrongAuth        Kind = "strong-auth"      // the DC wants signing, TLS or channel binding
	NoSuchBase        Kind = "no-such-base"     // see Suggest
	ReferralOnly      Kind = "referral"         // the answer is elsewhere; see Suggest
	SizeLimit         Kind = "size-limit"       // an administrative or size limit cut the answer
	InsufficientRight Kind = "insufficient-right"
	Other             Kind = "other"
)

// Error is a failure of the directory. It always carries a hint.
type Error struct {
	Kind     Kind
	DC       string
	Skew     time.Duration // the DC's clock minus ours, where known
	Issuer   string        // of a certificate nobody vouches for
	Suggest  []string      // naming contexts, or servers of a referral
	Attempts []Attempt     // per domain controller
	Err      error
}

// Attempt is one domain controller that was tried in vain.
type Attempt struct {
	DC  DC
	Err error
}

func (e *Error) Error() string {
	if e.DC == "" {
		return e.Err.Error()
	}
	return e.DC + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf gives the kind of the first [Error] in err's chain, or [Other].
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Other
}

// final says that another domain controller would say the same, or must not be asked.
func (k Kind) final() bool {
	switch k {
	case WrongPassword, PasswordExpired, Locked, Disabled, ClockSkew, WrongRealm, StrongAuth, Plaintext, Barred:
		return true
	}
	return false
}

var adData = lazyregexp.New(`data ([0-9a-fA-F]{3,8})\b`)

// explain makes an [Error] of whatever a connection, a bind or a search gave.
func explain(err error, dc string) error {
	var known *Error
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := &Error{Kind: Other, DC: dc, Err: err}
	var krb *kerberos.Error
	var le *ldap.Error
	switch {
	case e.untrusted(err):
	case errors.As(err, &krb):
		e.kerberos(krb)
	case errors.As(err, &le):
		e.ldap(le)
	}
	return e
}

func (e *Error) say(kind Kind, text, advice string) {
	e.Kind, e.Err = kind, hint.Wrap(fmt.Errorf("%s: %w", text, e.Err), advice)
}

func (e *Error) untrusted(err error) bool {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verify *tls.CertificateVerificationError
	switch {
	case errors.As(err, &unknown):
		if errors.As(err, &verify) && len(verify.UnverifiedCertificates) > 0 {
			unknown.Cert = verify.UnverifiedCertificates[len(verify.UnverifiedCertificates)-1]
		}
		if unknown.Cert != nil {
			e.Issuer = unknown.Cert.Issuer.String()
		}
		e.say(UntrustedCA, fmt.Sprintf("the certificate was issued by %q, which this computer does not trust", e.Issuer),
			"name the CA certificate of the domain (directory.ca in the settings), or use the method kerberos-seal, which needs none")
	case errors.As(err, &host):
		e.say(UntrustedCA, "the certificate is for another name", "name the domain controller as its certificate does: --dc dc1.corp.example=10.0.0.5")
	case errors.As(err, &invalid):
		e.say(UntrustedCA, "the certificate is not valid", "check the clock here and the certificate of the domain controller")
	default:
		return false
	}
	return true
}

// kinds are what the reasons of Kerberos mean here.
var kinds = map[kerberos.Reason]Kind{
	kerberos.WrongSecret: WrongPassword, kerberos.UnknownUser: WrongPassword, kerberos.Expired: PasswordExpired, kerberos.Revoked: Locked,
	kerberos.Policy: Disabled, kerberos.NoSecret: Disabled, kerberos.ClockSkew: ClockSkew, kerberos.WrongRealm: WrongRealm,
	kerberos.UnknownService: UnknownService, kerberos.Barred: Barred,
}

// kerberos sorts an error that says already what happened and what next.
func (e *Error) kerberos(krb *kerberos.Error) {
	e.Kind, e.Skew, e.Err = kinds[krb.Reason], krb.Skew, krb
	if e.Kind == "" {
		e.Kind = Other
	}
	if krb.KDC != "" || krb.Reason.Final() {
		e.DC = "" // it names who said it
	}
}

// ldap explains result codes (RFC 4511 appendix A) and AD's "data" codes, which are those of LogonUser.
func (e *Error) ldap(le *ldap.Error) {
	switch le.ResultCode {
	case ldap.LDAPResultInvalidCredentials:
		data := ""
		if m := adData.FindStringSubmatch(le.Err.Error()); m != nil {
			data = strings.ToLower(strings.TrimLeft(m[1], "0"))
		}
		switch data {
		case "532", "773":
			e.say(PasswordExpired, "the password has expired or must be changed", "change the password, or use another account")
		case "775":
			e.say(Locked, "the account is locked", "unlock it (Unlock-ADAccount), or use another account")
		case "530", "531", "533", "701":
			e.say(Disabled, "the account may not log on", "it is disabled, expired, or restricted in hours or workstations")
		case "80090346":
			e.say(StrongAuth, "the domain controller wants channel binding and did not accept ours", "use the method kerberos-seal")
		default:
			e.say(WrongPassword, "the user or the password is wrong", "check both before trying again: the account locks after a few failures; it was tried once")
		}
	case ldap.LDAPResultStrongAuthRequired, ldap.LDAPResultConfidentialityRequired:
		e.say(StrongAuth, "the domain controller wants a stronger bind", "use the method kerberos-seal, or ldaps")
	case ldap.LDAPResultAuthMethodNotSupported, ldap.LDAPResultUnwillingToPerform:
		e.say(StrongAuth, "the domain controller refuses this kind of bind or request", "try the method kerberos-seal, or ldaps")
	case ldap.LDAPResultSizeLimitExceeded, ldap.LDAPResultAdminLimitExceeded:
		e.say(SizeLimit, "the domain controller cut the answer short", "narrow the search to one OU or group")
	case ldap.LDAPResultInsufficientAccessRights:
		e.say(InsufficientRight, "the account has no right to do this", "ask for the right, or use another account")
	}
}
