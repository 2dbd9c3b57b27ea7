package directory

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/jcmturner/gokrb5/v8/messages"

	"github.com/fleetmend/fleetmend/internal/hint"
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

var (
	adData  = lazyregexp.New(`data ([0-9a-fA-F]{3,8})\b`)
	krbCode = lazyregexp.New(`KRB Error: \((\d{1,3})\)`)
)

// explain makes an [Error] of whatever a connection, a bind or a search gave. skew is the DC's clock minus ours.
func explain(err error, dc string, skew time.Duration) error {
	var known *Error
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := &Error{Kind: Other, DC: dc, Err: err}
	var krb messages.KRBError
	var le *ldap.Error
	switch {
	case e.untrusted(err):
	case errors.As(err, &krb):
		if !krb.STime.IsZero() {
			skew = time.Until(krb.STime)
		}
		e.kerberos(int(krb.ErrorCode), skew)
	case krbCode.MatchString(err.Error()):
		n, _ := strconv.Atoi(krbCode.FindStringSubmatch(err.Error())[1])
		e.kerberos(n, skew)
	case strings.Contains(err.Error(), "clock skew"):
		e.kerberos(37, skew)
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

// kerberos explains the error codes of RFC 4120 7.5.9.
func (e *Error) kerberos(code int, skew time.Duration) {
	switch code {
	case 6:
		e.say(WrongPassword, "Kerberos does not know this user", "check the spelling and the domain of the user; it was tried once")
	case 24, 25, 31:
		e.say(WrongPassword, "the password or key is wrong", "check it before trying again: the account locks after a few failures; it was tried once")
	case 23:
		e.say(PasswordExpired, "the password has expired", "change the password, or use another account")
	case 18:
		e.say(Locked, "the account is locked, disabled or expired", "unlock or enable it (Unlock-ADAccount), or use another account")
	case 12:
		e.say(Disabled, "the domain does not let this account log on now or from here", "check logon hours and workstations of the account")
	case 37:
		e.Skew = skew
		e.say(ClockSkew, "the clocks differ too much"+skewText(skew), "set the clock of this computer; Kerberos allows five minutes")
	case 68:
		e.say(WrongRealm, "the user belongs to another Kerberos realm", "write the user as user@REALM of its own domain, or set the realm")
	case 7:
		e.say(UnknownService, "the domain controller's name has no Kerberos principal", "name the domain controller by its full DNS name, not by an address or alias")
	case 14:
		e.say(Other, "the account and this program share no encryption type", "allow AES for the account (msDS-SupportedEncryptionTypes)")
	}
}

func skewText(d time.Duration) string {
	switch d = d.Round(time.Second); {
	case d > 0:
		return fmt.Sprintf(" (ours is %s behind the domain controller's)", d)
	case d < 0:
		return fmt.Sprintf(" (ours is %s ahead of the domain controller's)", -d)
	}
	return ""
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
