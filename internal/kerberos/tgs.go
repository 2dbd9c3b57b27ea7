package kerberos

import (
	"context"
	"fmt"
	"strings"

	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/asn1tools"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// mostHops bounds the way through trusted domains.
const mostHops = 10

// request is what a ticket-granting ticket is shown for.
type request struct {
	realm   string // of the KDC
	service types.PrincipalName
	renew   bool
}

// serviceTicket asks at home, and where the domain refers to another one, there (RFC 6806 section 8).
func (a *Account) serviceTicket(ctx context.Context, name string) (*ticket, error) {
	granting, err := a.granting(ctx)
	if err != nil {
		return nil, err
	}
	realm, _ := granting.forRealm()
	service := types.NewPrincipalName(nameService, name)
	way := []string{realm}
	for len(way) <= mostHops {
		t, err := a.ask(ctx, granting, request{realm: realm, service: service})
		if err != nil {
			return nil, err
		}
		next, referred := t.forRealm()
		if !referred {
			return t, nil
		}
		for _, been := range way {
			if strings.EqualFold(been, next) {
				return nil, failed(Other, "the trusts of the domains name each other in a circle", "no ticket for %s: %s, and back to %s", name, strings.Join(way, " refers to "), next)
			}
		}
		realm, granting, way = next, t, append(way, next)
	}
	return nil, failed(Other, "the trusts of the domains are longer than any forest's", "no ticket for %s: %s", name, strings.Join(way, " refers to "))
}

// ask shows a ticket-granting ticket to a KDC of its realm. Nothing in it is made of the account's secret, so that it can be asked
// twice: of another KDC, and again with a corrected clock.
func (a *Account) ask(ctx context.Context, granting *ticket, r request) (*ticket, error) {
	pool, err := a.pool(ctx, r.realm)
	if err != nil {
		return nil, err
	}
	for again := false; ; again = true {
		message, nonce, err := a.tgsRequest(granting, r)
		if err != nil {
			return nil, err
		}
		b, kdc, err := pool.ask(ctx, message)
		if err != nil {
			return nil, err
		}
		reply, refusal, err := parseReply(b, tagTGSRep)
		switch {
		case err != nil:
			return nil, fmt.Errorf("read the answer of %s: %w", kdc.name, err)
		case refusal == nil:
			return a.granted(reply, granting, nonce, kdc.name)
		case refusal.ErrorCode == codeSkew && !again:
			if err := a.learn(refusal.STime, refusal.Susec, kdc.name); err != nil {
				return nil, err
			}
		default:
			return nil, a.noTicket(refusal, r.service.PrincipalNameString(), kdc.name)
		}
	}
}

// tgsRequest is TGS-REQ (RFC 4120 section 5.4.1).
func (a *Account) tgsRequest(granting *ticket, r request) (message []byte, number int, err error) {
	options := types.NewKrbFlags()
	types.SetFlag(&options, optCanonicalize)
	if r.renew {
		types.SetFlags(&options, []int{optRenewable, optRenew})
	}
	number = nonce()
	req := messages.TGSReq{KDCReqFields: messages.KDCReqFields{PVNO: version, MsgType: 12, ReqBody: messages.KDCReqBody{
		KDCOptions: options, Realm: r.realm, SName: r.service, Till: a.now().Add(lifetime).UTC(), Nonce: number, EType: spoken,
	}}}
	body, err := req.ReqBody.Marshal()
	if err != nil {
		return nil, 0, fmt.Errorf("write TGS-REQ: %w", err)
	}
	et, err := crypto.GetEtype(granting.key.KeyType)
	if err != nil {
		return nil, 0, fmt.Errorf("write TGS-REQ: %w", err)
	}
	sum, err := et.GetChecksumHash(granting.key.KeyValue, body, useTGSSum)
	if err != nil {
		return nil, 0, fmt.Errorf("write TGS-REQ: %w", err)
	}
	at, micro := a.stamped()
	auth := types.Authenticator{AVNO: version, CRealm: granting.crealm, CName: granting.client, CTime: at, Cusec: micro,
		Cksum: types.Checksum{CksumType: et.GetHashID(), Checksum: sum}}
	sealed, err := sealAuthenticator(&auth, granting.key, useTGSRequest)
	if err != nil {
		return nil, 0, err
	}
	ap, err := marshalAPRequest(granting.raw, sealed, false)
	if err != nil {
		return nil, 0, err
	}
	req.PAData = types.PADataSequence{{PADataType: paTGSRequest, PADataValue: ap}}
	if message, err = req.Marshal(); err != nil {
		return nil, 0, fmt.Errorf("write TGS-REQ: %w", err)
	}
	return message, number, nil
}

func sealAuthenticator(auth *types.Authenticator, key types.EncryptionKey, usage uint32) (types.EncryptedData, error) {
	b, err := asn1.Marshal(*auth)
	if err != nil {
		return types.EncryptedData{}, fmt.Errorf("write the authenticator: %w", err)
	}
	return encrypt(key, asn1tools.AddASNAppTag(b, 2), usage)
}

// granted checks and opens TGS-REP (RFC 4120 section 3.3.4). The name of the service is what the KDC says it is: the answer is sealed
// with a key that only it has, and canonical names differ from those asked for.
func (a *Account) granted(r *kdcReply, granting *ticket, nonce int, kdc string) (*ticket, error) {
	plain, err := decrypt(granting.key, r.Part, useTGSReply)
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", kdc, err)
	}
	part, err := parsePart(plain)
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", kdc, err)
	}
	if part.Nonce != nonce || !sameName(r.CName, granting.client) || !strings.EqualFold(r.CRealm, granting.crealm) {
		return nil, fmt.Errorf("read the answer of %s: it belongs to another request", kdc)
	}
	return newTicket(r, &part), nil
}

// noTicket says what a KDC's error about a service means.
func (a *Account) noTicket(e *messages.KRBError, service, kdc string) *Error {
	_, host, _ := strings.Cut(service, "/")
	var out *Error
	switch e.ErrorCode {
	case codeUnknownService:
		out = failed(UnknownService, "", "%s knows no name %s", kdc, service)
	case codeNoCipher:
		out = failed(NoAES, "allow AES for it (msDS-SupportedEncryptionTypes 24), then renew its password", "%s offers RC4 only", host)
	case codePolicy:
		out = failed(Policy, "see whether the account may sign in at this machine", "the domain does not let %s in at %s (%s says so)", a.Name(), host, kdc)
	case codeRevoked, codeExpired, codeUnknownClient:
		out = a.refusal(e, kdc)
	case codeSkew:
		out = a.skewed(kdc, e.STime)
	case codeTicketExpired:
		out = failed(NoSecret, "sign in again (kinit where a ticket cache is used)", "the ticket of %s has ended (%s says so)", a.Name(), kdc)
	default:
		out = failed(Other, "", "%s gives no ticket for %s: %s", kdc, service, said(e))
	}
	out.Code, out.KDC = int(e.ErrorCode), kdc
	return out
}
