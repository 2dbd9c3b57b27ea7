package kerberos

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// TestTheServiceProvesItself: only the answer to our own request, made with the service's key, is taken.
func TestTheServiceProvesItself(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*messages.EncAPRepPart)
		sub    *types.EncryptionKey
		words  string
	}{
		"right":        {},
		"subkey":       {sub: &types.EncryptionKey{KeyType: 17, KeyValue: []byte("0123456789abcdef")}},
		"signed count": {change: func(p *messages.EncAPRepPart) { p.SequenceNumber = -1 }},
		"other time":   {change: func(p *messages.EncAPRepPart) { p.CTime = p.CTime.Add(time.Second) }, words: "belongs to another request"},
		"microseconds": {change: func(p *messages.EncAPRepPart) { p.Cusec++ }, words: "belongs to another request"},
		"no time":      {change: func(p *messages.EncAPRepPart) { p.CTime, p.Cusec = time.Unix(0, 0).UTC(), 0 }, words: "belongs to another request"},
		"rc4":          {sub: &types.EncryptionKey{KeyType: 23, KeyValue: []byte("0123456789abcdef")}, words: "not AES"},
		"odd key":      {sub: &types.EncryptionKey{KeyType: 18, KeyValue: []byte("0123456789abcdef")}, words: "not AES"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := (&realm{t: t, name: realmName}).account(t)
				c1, err := a.Context(t.Context(), web, Options{Protection: Sealed, Bindings: []byte("0123456789abcdef")})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c1.Wrap([]byte("too early"), true); err == nil {
					t.Error("sealed before the service proved itself")
				}
				answer, auth := accept(t, c1.First(), c.sub, c.change)
				sum := auth.Cksum.Checksum
				if len(sum) != 24 || string(sum[4:20]) != "0123456789abcdef" || binary.LittleEndian.Uint32(sum[20:]) != 2|4|8|16|32 || !good(auth.SubKey) {
					t.Errorf("authenticator %+v", auth)
				}
				if err := c1.Finish(answer); c.words != "" {
					says(t, err, Unproven, "ws1.fleet.test could not prove who it is", c.words)
					return
				} else if err != nil {
					t.Fatal(err)
				}
				key, flags := auth.SubKey, byte(flagAcceptor)
				if c.sub != nil {
					key, flags = *c.sub, flagAcceptor|flagSubkey
				}
				seq := uint64(41)
				if name == "signed count" {
					seq = 1<<32 - 1
				}
				if text, err := c1.Open(acceptorToken(t, key, flags, seq, []byte("hello"), true, 28), true); err != nil || string(text) != "hello" {
					t.Error(string(text), err)
				}
			})
		})
	}
}

func TestAnswersOfServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := (&realm{t: t, name: realmName}).account(t)
		one, err := a.Context(t.Context(), web, Options{})
		if err != nil {
			t.Fatal(err)
		}
		other, err := a.Context(t.Context(), web, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, auth := accept(t, one.First(), nil, nil); true {
			if _, again := accept(t, other.First(), nil, nil); again.Cusec == auth.Cusec && again.CTime.Equal(auth.CTime) {
				t.Error("two requests of one time: the service would take the second for a replay")
			}
		}
		answer, _ := accept(t, other.First(), nil, nil)
		says(t, one.Finish(answer), Unproven, "belongs to another request")
		for _, junk := range [][]byte{nil, []byte("junk"), answer[:20], answer[:len(answer)-1], append(answer, 0)} {
			says(t, one.Finish(junk), Unproven, "could not prove who it is")
		}
		for code, want := range map[int32]struct {
			reason Reason
			text   string
		}{
			codeSkew:     {ClockSkew, "ws1.fleet.test's clock is 9 min behind the domain's"},
			codeModified: {BrokenTrust, "broken trust"},
			60:           {Other, "ws1.fleet.test refuses the ticket: Kerberos error 60"},
		} {
			e := messages.NewKRBError(types.PrincipalName{NameType: 2, NameString: []string{"HTTP", "ws1"}}, realmName, code, "")
			e.STime = time.Now().Add(-9 * time.Minute).UTC()
			b, err := e.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			token, err := frame(3, b)
			if err != nil {
				t.Fatal(err)
			}
			err = one.Finish(token)
			says(t, err, want.reason, want.text)
		}
	})
}

// RFC 5929 4.1: SHA-1 and SHA-256 certificates give a SHA-256 hash, SHA-384 ones their own.
func TestBindingsFollowTheCertificate(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, alg := range []x509.SignatureAlgorithm{x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA} {
		raw, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), SignatureAlgorithm: alg}, &x509.Certificate{}, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(raw)
		if err != nil {
			t.Fatal(err)
		}
		own := string(Bindings(cert))
		cert.SignatureAlgorithm = x509.SHA1WithRSA
		if same := own == string(Bindings(cert)); len(own) != 16 || same != (alg == x509.SHA256WithRSA) {
			t.Errorf("%v: %x", alg, own)
		}
		seen[own] = true
	}
	if len(seen) != 3 {
		t.Error(seen)
	}
}

func TestHowFarApart(t *testing.T) {
	for d, want := range map[time.Duration]string{
		3 * time.Second: "3 s ahead", -7 * time.Minute: "7 min behind", 3 * time.Hour: "3 h ahead", -365 * 24 * time.Hour: "365 days behind", 119 * time.Minute: "119 min ahead",
	} {
		if got := Apart(d, "ahead", "behind"); got != want {
			t.Errorf("%v: %q", d, got)
		}
	}
	if !strings.HasSuffix(Apart(0, "ahead", "behind"), "ahead") {
		t.Error("no difference")
	}
}
