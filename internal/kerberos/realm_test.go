package kerberos

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/asn1tools"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/fleetmend/fleetmend/internal/secret"
)

const (
	realmName = "FLEET.TEST"
	userName  = "admin"
	password  = secretWord

	secretWord = "planted-password"
)

// realm is a KDC that answers as the test wants; what it needs of the protocol comes from gokrb5's own side for servers.
type realm struct {
	t    testing.TB
	name string

	ahead    time.Duration // of its clock
	takes    time.Duration // for every answer
	mute     bool          // reads and never answers
	muteAS   bool          // nor to a proof, but to all else
	life     time.Duration // of tickets; 10 h
	refuse   map[string]int32
	open     bool            // wants no proof
	ciphers  []int32         // of the account; spoken
	rounds   uint32          // of its password's key; 0: as usual
	services map[string]bool // that it knows, by name; nil: all
	refers   map[string]string
	rotten   []byte // in place of every answer
	stale    int    // 1: answers for a user are those of another request; 2: those for a service

	mu                               sync.Mutex
	proofs, asked, granted, renewals int
}

var serviceKey = types.EncryptionKey{KeyType: 18, KeyValue: []byte("0123456789abcdef0123456789abcdef")}

// account gives an account that reaches r under any of addresses.
func (r *realm) account(t testing.TB, change ...func(*Config, *Credential)) *Account {
	t.Helper()
	config := Config{Realm: realmName, KDCs: []KDC{{Name: "dc1"}}, DialTCP: r.dial}
	credential := Credential{User: userName, Password: secret.New(password)}
	for _, c := range change {
		c(&config, &credential)
	}
	a, err := New(config, credential)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (r *realm) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		var size [4]byte
		if _, err := io.ReadFull(far, size[:]); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(far, b); err != nil {
			return
		}
		answer := r.answer(b)
		time.Sleep(r.takes)
		if r.mute || answer == nil {
			_, _ = io.Copy(io.Discard, far) // until the other side is tired of it
			return
		}
		_, _ = far.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(answer))), answer...))
	}()
	return near, nil
}

func (r *realm) now() time.Time { return time.Now().Add(r.ahead).UTC() }

func (r *realm) count(n *int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*n++
}

func (r *realm) counts() (proofs, asked, granted, renewals int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.proofs, r.asked, r.granted, r.renewals
}

func (r *realm) answer(b []byte) []byte {
	r.count(&r.asked)
	if r.rotten != nil {
		return r.rotten
	}
	var as messages.ASReq
	var tgs messages.TGSReq
	switch {
	case as.Unmarshal(b) == nil:
		return r.as(&as)
	case tgs.Unmarshal(b) == nil:
		return r.tgs(&tgs)
	}
	r.t.Error("the KDC cannot read what it is asked")
	return nil
}

func (r *realm) fail(code int32, data []byte, crealm string) []byte {
	e := messages.NewKRBError(types.PrincipalName{NameType: 2, NameString: []string{"krbtgt", r.name}}, r.name, code, "")
	e.STime, e.Susec, e.EData, e.CRealm = r.now(), 0, data, crealm
	return r.must(e.Marshal())
}

func (r *realm) must(b []byte, err error) []byte {
	if err != nil {
		r.t.Error(err)
	}
	return b
}

func (r *realm) as(req *messages.ASReq) []byte {
	if code := r.refuse["first"]; code != 0 {
		return r.fail(code, nil, "OTHER.TEST")
	}
	infos := types.ETypeInfo2{}
	for _, c := range r.ciphers {
		info := types.ETypeInfo2Entry{EType: c, Salt: "salt"}
		if r.rounds > 0 {
			info.S2KParams = binary.BigEndian.AppendUint32(nil, r.rounds)
		}
		infos = append(infos, info)
	}
	info := types.PAData{PADataType: paETypeInfo2, PADataValue: r.must(asn1.Marshal(infos))}
	key := r.key(req)
	proof := ""
	for _, pa := range req.PAData {
		if pa.PADataType == paTimestamp {
			proof = string(pa.PADataValue)
		}
	}
	switch {
	case r.open:
	case proof == "":
		return r.fail(codeRequired, r.must(asn1.Marshal(types.PADataSequence{info, {PADataType: paTimestamp}, {PADataType: paCookie, PADataValue: []byte("c")}})), "")
	default:
		r.count(&r.proofs)
		r.mu.Lock()
		mute := r.muteAS
		r.mu.Unlock()
		if mute {
			return nil
		}
		if code := r.refuse["proof"]; code != 0 {
			return r.fail(code, nil, "")
		}
		var sealed types.EncryptedData
		if err := sealed.Unmarshal([]byte(proof)); err != nil {
			return r.fail(codeFailed, nil, "")
		}
		plain, err := crypto.DecryptEncPart(sealed, key, useTimestamp)
		if err != nil {
			return r.fail(codeFailed, nil, "")
		}
		var stamp types.PAEncTSEnc
		if err := stamp.Unmarshal(plain); err != nil || stamp.PATimestamp.Sub(r.now()).Abs() > 5*time.Minute {
			return r.fail(codeSkew, nil, "")
		}
	}
	reply := messages.ASRep{KDCRepFields: r.reply(11, req.ReqBody.CName, r.name, req.ReqBody.SName, r.name, req.ReqBody.Nonce+bit(r.stale == 1), key, useASReply)}
	return r.must(reply.Marshal())
}

// key is that of the right password.
func (r *realm) key(req *messages.ASReq) types.EncryptionKey {
	c := int32(18)
	if len(r.ciphers) > 0 {
		c = r.ciphers[0]
	}
	et, err := crypto.GetEtype(c)
	if err != nil {
		r.t.Error(err)
		return types.EncryptionKey{}
	}
	salt := "salt"
	if len(r.ciphers) == 0 {
		salt = req.ReqBody.CName.GetSalt(r.name)
	}
	value, err := et.StringToKey(password, salt, et.GetDefaultStringToKeyParams())
	return types.EncryptionKey{KeyType: c, KeyValue: r.must(value, err)}
}

// reply makes a ticket, and seals for the asker what it needs to use it. The session key of every ticket is [serviceKey].
func (r *realm) reply(kind int, cname types.PrincipalName, crealm string, sname types.PrincipalName, srealm string, nonce int, key types.EncryptionKey, usage uint32) messages.KDCRepFields {
	life := r.life
	if life == 0 {
		life = 10 * time.Hour
	}
	flags := types.NewKrbFlags()
	types.SetFlag(&flags, optRenewable)
	now := r.now().Truncate(time.Second)
	part := messages.EncKDCRepPart{Key: serviceKey, LastReqs: []messages.LastReq{{LRValue: now}}, Nonce: nonce, Flags: flags, AuthTime: now, StartTime: now,
		EndTime: now.Add(life), RenewTill: now.Add(7 * 24 * time.Hour), SRealm: srealm, SName: sname}
	plain := r.must(part.Marshal())
	sealed, err := crypto.GetEncryptedData(plain, key, usage, 1)
	if err != nil {
		r.t.Error(err)
	}
	return messages.KDCRepFields{PVNO: 5, MsgType: kind, CRealm: crealm, CName: cname, EncPart: sealed,
		Ticket: messages.Ticket{TktVNO: 5, Realm: srealm, SName: sname, EncPart: types.EncryptedData{EType: 18, Cipher: []byte("only its service reads it")}}}
}

func (r *realm) tgs(req *messages.TGSReq) []byte {
	if code := r.refuse["ticket"]; code != 0 {
		return r.fail(code, nil, "")
	}
	var ap messages.APReq
	if len(req.PAData) != 1 || ap.Unmarshal(req.PAData[0].PADataValue) != nil || ap.DecryptAuthenticator(serviceKey) != nil {
		return r.fail(codeIntegrity, nil, "")
	}
	if ap.Authenticator.CTime.Sub(r.now()).Abs() > 5*time.Minute {
		return r.fail(codeSkew, nil, "")
	}
	name := req.ReqBody.SName.PrincipalNameString()
	sname := req.ReqBody.SName
	switch {
	case types.IsFlagSet(&req.ReqBody.KDCOptions, optRenew):
		if r.refuse["renew"] != 0 {
			return r.fail(r.refuse["renew"], nil, "")
		}
		r.count(&r.renewals)
	case r.refers[req.ReqBody.Realm] != "":
		sname = types.PrincipalName{NameType: 2, NameString: []string{"krbtgt", r.refers[req.ReqBody.Realm]}}
	case r.services != nil && !r.services[name]:
		return r.fail(codeUnknownService, nil, "")
	default:
		r.count(&r.granted)
	}
	reply := messages.TGSRep{KDCRepFields: r.reply(13, ap.Authenticator.CName, ap.Authenticator.CRealm, sname, req.ReqBody.Realm, req.ReqBody.Nonce+bit(r.stale == 2), serviceKey, useTGSReply)}
	return r.must(reply.Marshal())
}

// accept is the service's side of a context: it reads the AP-REQ and makes the AP-REP, with a subkey of its own where one is given.
func accept(t testing.TB, first []byte, sub *types.EncryptionKey, change func(*messages.EncAPRepPart)) (answer []byte, auth types.Authenticator) {
	t.Helper()
	kind, b, err := unframed(first)
	if err != nil || kind != 1 {
		t.Fatal(kind, err)
	}
	var ap messages.APReq
	if err := ap.Unmarshal(b); err != nil {
		t.Fatal(err)
	}
	if err := ap.DecryptAuthenticator(serviceKey); err != nil {
		t.Fatal(err)
	}
	part := messages.EncAPRepPart{CTime: ap.Authenticator.CTime, Cusec: ap.Authenticator.Cusec, SequenceNumber: 41}
	if sub != nil {
		part.Subkey = *sub
	}
	if change != nil {
		change(&part)
	}
	plain, err := asn1.Marshal(part)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := encrypt(serviceKey, asn1tools.AddASNAppTag(plain, tagAPPart), useAPReply)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := asn1.Marshal(apReply{5, 15, sealed})
	if err != nil {
		t.Fatal(err)
	}
	if answer, err = frame(2, asn1tools.AddASNAppTag(rep, tagAPRep)); err != nil {
		t.Fatal(err)
	}
	return answer, ap.Authenticator
}

// says reports what is wrong with an error that is to be of a reason and to hold words.
func says(t testing.TB, err error, reason Reason, words ...string) {
	t.Helper()
	if ReasonOf(err) != reason || err == nil {
		t.Fatalf("%s, not %s: %v", ReasonOf(err), reason, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), secretWord) {
		t.Error("the password is in an error")
	}
}
