package kerberos

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// Kinds of pre-authentication data (RFC 4120 section 7.5.2, RFC 6113 section 5.2).
const (
	paTGSRequest = 1
	paTimestamp  = 2
	paETypeInfo2 = 19
	paCookie     = 133
)

// Options of a request to a KDC (RFC 4120 section 5.4.1, RFC 6806 section 3).
const (
	optRenewable    = 8
	optCanonicalize = 15
	optRenewableOK  = 27
	optRenew        = 30
)

// lifetime is what is asked for; a domain gives what it allows (10 h and 7 days where nobody changed it).
const (
	lifetime  = 24 * time.Hour
	renewable = 7 * 24 * time.Hour
)

// login signs in: one round without a secret, which tells clock and salt, and one with, to the KDC that answered the first.
func (a *Account) login(ctx context.Context) (*ticket, error) {
	realm, name := a.config.Realm, a.name
	for hops := 0; ; hops++ {
		req := a.asRequest(realm, name)
		message, err := req.Marshal()
		if err != nil {
			return nil, fmt.Errorf("write AS-REQ: %w", err)
		}
		pool, err := a.pool(ctx, realm)
		if err != nil {
			return nil, err
		}
		b, kdc, err := pool.ask(ctx, message)
		if err != nil {
			return nil, err
		}
		reply, refusal, err := parseReply(b, tagASRep)
		if err != nil {
			return nil, fmt.Errorf("read the answer of %s: %w", kdc.name, err)
		}
		if reply != nil { // an account that needs no proof: who can open the answer is it
			return a.opened(reply, &req, kdc.name, nil)
		}
		if e := a.learn(refusal.STime, refusal.Susec, kdc.name); e != nil {
			return nil, e
		}
		switch other := refusal.CRealm; {
		case refusal.ErrorCode == codeRequired:
			return a.proven(ctx, kdc, &req, refusal)
		case refusal.ErrorCode != codeWrongRealm || other == "" || strings.EqualFold(other, realm) || hops == 3:
			return nil, a.refusal(refusal, kdc.name)
		default:
			realm = other
		}
		if _, err := a.pool(ctx, realm); err != nil { // the KDC's own words say more than that DNS knows nobody
			return nil, a.refusal(refusal, kdc.name)
		}
	}
}

// asRequest asks for a ticket-granting ticket (RFC 4120 section 5.4.1), without any proof.
func (a *Account) asRequest(realm string, name types.PrincipalName) messages.ASReq {
	options := types.NewKrbFlags()
	types.SetFlags(&options, []int{optRenewable, optRenewableOK})
	if name.NameType == nameEnterprise {
		types.SetFlag(&options, optCanonicalize)
	}
	now := a.now().UTC()
	return messages.ASReq{KDCReqFields: messages.KDCReqFields{PVNO: version, MsgType: 10, ReqBody: messages.KDCReqBody{
		KDCOptions: options, CName: name, Realm: realm, SName: types.PrincipalName{NameType: nameService, NameString: []string{"krbtgt", realm}},
		Till: now.Add(lifetime), RTime: now.Add(renewable), Nonce: nonce(), EType: a.ciphers(),
	}}}
}

// nonce is a positive number of 31 bits: some KDCs read it as signed.
func nonce() int {
	var b [4]byte
	_, _ = rand.Read(b[:]) //nolint:errcheck // never fails (crypto/rand)
	return int(binary.BigEndian.Uint32(b[:]) >> 1)
}

// ciphers are those that the account's secret is good for.
func (a *Account) ciphers() []int32 {
	if len(a.keys) == 0 {
		return spoken
	}
	var out []int32
	for _, k := range a.keys {
		out = append(out, k.KeyType)
	}
	return out
}

// proven sends the proof: the KDC's own time, sealed with the secret (RFC 4120 section 5.2.7.2).
func (a *Account) proven(ctx context.Context, kdc *kdc, req *messages.ASReq, refusal *messages.KRBError) (*ticket, error) {
	offered, err := methods(refusal.EData)
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", kdc.name, err)
	}
	switch {
	case !offered.Contains(paETypeInfo2): // it has no key of a cipher that was asked for, and a guess would count as a wrong password
		return nil, a.oldOnly()
	case !offered.Contains(paTimestamp):
		return nil, a.refusal(refusal, kdc.name)
	}
	key, err := a.secretKey(offered, kdc.name, req, 0)
	if err != nil {
		return nil, err
	}
	at, micro := a.stamped()
	stamp, err := asn1.Marshal(types.PAEncTSEnc{PATimestamp: at, PAUSec: micro})
	if err != nil {
		return nil, fmt.Errorf("write the proof: %w", err)
	}
	sealed, err := encrypt(key, stamp, useTimestamp)
	if err != nil {
		return nil, err
	}
	proof, err := sealed.Marshal()
	if err != nil {
		return nil, fmt.Errorf("write the proof: %w", err)
	}
	req.PAData = types.PADataSequence{{PADataType: paTimestamp, PADataValue: proof}}
	for _, pa := range offered {
		if pa.PADataType == paCookie {
			req.PAData = append(req.PAData, pa)
		}
	}
	message, err := req.Marshal()
	if err != nil {
		return nil, fmt.Errorf("write AS-REQ: %w", err)
	}
	settle := func(error) {}
	if a.config.Guard != nil {
		if settle, err = a.config.Guard(kdc.name); err != nil {
			return nil, &Error{Reason: Barred, KDC: kdc.name, Err: err}
		}
	}
	t, err := a.judged(ctx, kdc, message, req, offered)
	settle(err)
	return t, err
}

// judged sends what is made of the secret, once, and reads the verdict.
func (a *Account) judged(ctx context.Context, kdc *kdc, message []byte, req *messages.ASReq, offered types.PADataSequence) (*ticket, error) {
	b, err := kdc.exchange(ctx, message)
	var reply *kdcReply
	var refusal *messages.KRBError
	if err == nil {
		reply, refusal, err = parseReply(b, tagASRep)
	}
	switch {
	case err != nil: // nobody knows what became of it
		a.mu.Lock()
		a.silent = a.config.now()
		a.mu.Unlock()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, failed(Silent, "it was tried once; see that the domain controllers answer on TCP port 88, then start again",
			"%s did not answer when %s signed in: %w", kdc.name, a.Name(), err)
	case refusal != nil:
		return nil, a.refusal(refusal, kdc.name)
	}
	return a.opened(reply, req, kdc.name, offered)
}

// opened checks and opens AS-REP (RFC 4120 section 3.1.5).
func (a *Account) opened(r *kdcReply, req *messages.ASReq, kdc string, offered types.PADataSequence) (*ticket, error) {
	if r.PAData.Contains(paETypeInfo2) {
		offered = r.PAData
	}
	key, err := a.secretKey(offered, kdc, req, r.Part.EType)
	if err != nil {
		return nil, err
	}
	plain, err := decrypt(key, r.Part, useASReply)
	if errors.Is(err, errKey) {
		return nil, a.wrong(kdc)
	}
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", kdc, err)
	}
	part, err := parsePart(plain)
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", kdc, err)
	}
	t := newTicket(r, &part)
	realm, granting := t.forRealm()
	if part.Nonce != req.ReqBody.Nonce || !granting || !strings.EqualFold(realm, req.ReqBody.Realm) ||
		req.ReqBody.CName.NameType != nameEnterprise && !sameName(r.CName, req.ReqBody.CName) {
		return nil, fmt.Errorf("read the answer of %s: it belongs to another request", kdc)
	}
	return t, nil
}

// sameName compares without case, as a domain does.
func sameName(a, b types.PrincipalName) bool {
	return strings.EqualFold(a.PrincipalNameString(), b.PrincipalNameString())
}

// methods reads the list of ways to prove oneself (METHOD-DATA, RFC 4120 section 5.9.1).
func methods(b []byte) (out types.PADataSequence, err error) {
	defer survive(&err)
	if err := out.Unmarshal(b); err != nil {
		return nil, errMalformed
	}
	return out, nil
}

// The rounds that making a key of a password may take. Less than what every system takes is a trap for the password, much more would
// stop us (RFC 3962 section 4).
const (
	fewestRounds = 4096
	mostRounds   = 1 << 20
)

// secretKey is the account's key for a cipher, 0 for the first that the KDC names and the secret is good for.
func (a *Account) secretKey(offered types.PADataSequence, kdc string, req *messages.ASReq, cipher int32) (types.EncryptionKey, error) {
	infos, err := ciphersOffered(offered)
	if err != nil {
		return types.EncryptionKey{}, fmt.Errorf("read the answer of %s: %w", kdc, err)
	}
	if len(infos) == 0 {
		for _, c := range a.ciphers() {
			infos = append(infos, types.ETypeInfo2Entry{EType: c})
		}
	}
	for _, info := range infos {
		if keySizes[info.EType] == 0 || cipher != 0 && info.EType != cipher {
			continue
		}
		if len(a.keys) > 0 {
			for _, k := range a.keys {
				if k.KeyType == info.EType {
					return k, nil
				}
			}
			continue
		}
		return a.passwordKey(&info, kdc, req)
	}
	if len(a.keys) > 0 {
		return types.EncryptionKey{}, failed(NoSecret, "write the keytab anew, with AES keys", "the keytab %s has no key of the kind that %s wants for %s", a.credential.Keytab, kdc, a.Name())
	}
	return types.EncryptionKey{}, a.oldOnly()
}

func (a *Account) passwordKey(info *types.ETypeInfo2Entry, kdc string, req *messages.ASReq) (types.EncryptionKey, error) {
	et, err := crypto.GetEtype(info.EType)
	if err != nil {
		return types.EncryptionKey{}, fmt.Errorf("make a key: %w", err)
	}
	rounds := et.GetDefaultStringToKeyParams()
	if len(info.S2KParams) > 0 {
		if n := len(info.S2KParams); n != 4 || binary.BigEndian.Uint32(info.S2KParams) < fewestRounds || binary.BigEndian.Uint32(info.S2KParams) > mostRounds {
			return types.EncryptionKey{}, failed(Other, "what answers there may be no domain controller; nothing secret was sent", "%s wants the key of a password made in a way that is not safe", kdc)
		}
		rounds = hex.EncodeToString(info.S2KParams)
	}
	salt := info.Salt
	if salt == "" {
		salt = req.ReqBody.CName.GetSalt(req.ReqBody.Realm)
	}
	value, err := et.StringToKey(a.credential.Password.Reveal(), salt, rounds)
	if err != nil {
		return types.EncryptionKey{}, errors.New("make a key of the password: it failed") // the cause could hold part of it
	}
	return types.EncryptionKey{KeyType: info.EType, KeyValue: value}, nil
}

// ciphersOffered reads ETYPE-INFO2 (RFC 4120 section 5.2.7.5).
func ciphersOffered(offered types.PADataSequence) (infos types.ETypeInfo2, err error) {
	defer survive(&err)
	for _, pa := range offered {
		if pa.PADataType == paETypeInfo2 {
			if err := infos.Unmarshal(pa.PADataValue); err != nil {
				return nil, errMalformed
			}
		}
	}
	return infos, nil
}
