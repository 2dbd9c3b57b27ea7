package directory

import (
	"context"
	"encoding/asn1"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
)

// TestUserNamesThatNobodyKnowsAreNotSent: a domain controller counts each of them as a wrong password.
func TestUserNamesThatNobodyKnowsAreNotSent(t *testing.T) {
	for _, c := range []struct {
		method  Method
		user    string
		advice  string // empty: the name is taken
		keytab  string
		trouble string
	}{
		{SimpleLDAPS, "reader", `write reader@corp.example or CORP\reader`, "", "without its domain"},
		{SimpleStartTLS, "CORP/reader", `write reader@corp.example or CORP\reader`, "", "no form of a user"},
		{KerberosSeal, "CORP/reader", `write reader@corp.example or CORP\reader`, "", "no form of a user"},
		{KerberosLDAPS, "CORP/reader", `write reader@corp.example or CORP\reader`, "", "no form of a user"},
		{SimpleLDAPS, "reader@corp.example", "", "", ""},
		{SimpleLDAPS, `CORP\reader`, "", "", ""},
		{SimpleLDAPS, `CORP\a/b`, "", "", ""},
		{SimpleLDAPS, "CN=Reader,OU=A/B,DC=corp,DC=example", "", "", ""},
		{KerberosSeal, "reader", "", "", ""},
		{KerberosSeal, "HTTP/ws.corp.example", "", "ws.keytab", ""},
	} {
		dialled := false
		conf := Config{Domain: "corp.example", Method: c.method, DCs: []DC{{Host: "dc1.corp.example"}}, Credential: Credential{User: c.user, Password: secret.New("p"), Keytab: c.keytab},
			DialTCP: func(context.Context, string, string) (net.Conn, error) {
				dialled = true
				return nil, errors.New("no network")
			}}
		_, err := Dial(t.Context(), conf)
		if refused := c.advice != ""; dialled == refused || refused && (!strings.Contains(err.Error(), c.trouble) || !strings.Contains(strings.Join(hint.Of(err), " "), c.advice)) {
			t.Errorf("%s as %s: dialled %t, %v, %q", c.method, c.user, dialled, err, hint.Of(err))
		}
	}
}

// answer is an AP-REP in its GSS frame (RFC 4120 5.5.2, RFC 4121 4.1), as the holder of the session key makes it.
func answer(t *testing.T, key types.EncryptionKey, at time.Time, micro int) []byte {
	t.Helper()
	marshal := func(v any, params string) []byte {
		b, err := asn1.MarshalWithParams(v, params)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	plain := marshal(struct {
		CTime time.Time `asn1:"generalized,explicit,tag:0"`
		Cusec int       `asn1:"explicit,tag:1"`
	}{at.UTC(), micro}, "application,tag:27,explicit")
	sealed, err := crypto.GetEncryptedData(plain, key, keyusage.AP_REP_ENCPART, 1)
	if err != nil {
		t.Fatal(err)
	}
	rep := marshal(struct {
		Version int `asn1:"explicit,tag:0"`
		Type    int `asn1:"explicit,tag:1"`
		Part    struct {
			EType  int32  `asn1:"explicit,tag:0"`
			Cipher []byte `asn1:"explicit,tag:2"`
		} `asn1:"explicit,tag:2"`
	}{5, 15, struct {
		EType  int32  `asn1:"explicit,tag:0"`
		Cipher []byte `asn1:"explicit,tag:2"`
	}{sealed.EType, sealed.Cipher}}, "application,tag:15,explicit")
	return marshal(asn1.RawValue{Class: asn1.ClassApplication, IsCompound: true, Bytes: append(append(marshal(krbMech, ""), 2, 0), rep...)}, "")
}

// TestAnswerMustBelongToOurRequest: an answer of before, sent again, proves nothing, though it was sealed with our key.
func TestAnswerMustBelongToOurRequest(t *testing.T) {
	key := types.EncryptionKey{KeyType: etypeID.AES256_CTS_HMAC_SHA1_96, KeyValue: []byte("0123456789abcdef0123456789abcdef")}
	at := time.Date(2024, 7, 19, 4, 9, 11, 0, time.UTC)
	for _, c := range []struct {
		at    time.Time
		micro int
		right bool
	}{{at, 4711, true}, {at, 4712, false}, {at.Add(time.Second), 4711, false}, {time.Time{}.AddDate(1970, 0, 0), 0, false}} {
		g := &initiator{session: key, at: at, micro: 4711}
		err := g.reply(answer(t, key, c.at, c.micro))
		if c.right != (err == nil) || !c.right && !strings.Contains(err.Error(), "could not prove who it is") {
			t.Errorf("%s and %d microseconds: %v", c.at, c.micro, err)
		}
	}
}
