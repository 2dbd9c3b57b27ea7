package kerberos

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/internal/secret"
)

// acceptorToken is a token as a service makes it, rotated by rrc.
func acceptorToken(t testing.TB, key types.EncryptionKey, flags byte, seq uint64, text []byte, seal bool, rrc int) []byte {
	t.Helper()
	et, err := crypto.GetEtype(key.KeyType)
	if err != nil {
		t.Fatal(err)
	}
	h := header(flags, 0, seq)
	var body []byte
	if seal {
		h = header(flags|flagSealed, 0, seq)
		if _, body, err = et.EncryptMessage(key.KeyValue, append(bytes.Clone(text), h...), useAcceptorSeal); err != nil {
			t.Fatal(err)
		}
	} else {
		sum, err := et.GetChecksumHash(key.KeyValue, append(bytes.Clone(text), h...), useAcceptorSeal)
		if err != nil {
			t.Fatal(err)
		}
		body = append(bytes.Clone(text), sum...)
		binary.BigEndian.PutUint16(h[4:], uint16(len(sum)))
	}
	binary.BigEndian.PutUint16(h[6:], uint16(rrc))
	cut := len(body) - rrc%len(body)
	return append(append(h, body[cut:]...), body[:cut]...)
}

func aes(kind int32) types.EncryptionKey {
	return types.EncryptionKey{KeyType: kind, KeyValue: bytes.Repeat([]byte{7}, keySizes[kind])}
}

func TestProtectedMessages(t *testing.T) {
	for _, kind := range spoken {
		for _, seal := range []bool{false, true} {
			tok := tokens{key: aes(kind), acceptorKey: true, want: 41}
			good := acceptorToken(t, tok.key, flagAcceptor|flagSubkey, 41, []byte("hello"), seal, 28)
			if text, err := tok.open(good, seal); err != nil || string(text) != "hello" {
				t.Fatalf("etype %d seal %v: %q %v", kind, seal, text, err)
			}
			if _, err := tok.open(good, seal); !errors.Is(err, ErrToken) {
				t.Error("a repeated message was taken")
			}
			next := acceptorToken(t, tok.key, flagAcceptor|flagSubkey, 42, []byte("hello"), seal, 0)
			for i := range next {
				bad := bytes.Clone(next)
				bad[i] ^= 0x10
				if i == 6 || i == 7 {
					continue // RRC is not protected by design; another rotation fails the checksum or is the same
				}
				if text, err := tok.open(bad, seal); err == nil {
					t.Fatalf("etype %d seal %v: byte %d changed, still %q", kind, seal, i, text)
				}
			}
			for n := range len(next) {
				if _, err := tok.open(next[:n], seal); err == nil {
					t.Fatalf("cut at %d was taken", n)
				}
			}
		}
	}
	tok := tokens{key: aes(18), acceptorKey: true}
	if _, err := tok.open(acceptorToken(t, tok.key, flagAcceptor|flagSubkey, 0, []byte("x"), false, 0), true); err == nil {
		t.Error("a readable message was taken where sealing was agreed")
	}
}

// TestSealedInTwoPieces: what is cut where SSPI cuts it is one token that anybody opens, and the other side's opens however it is rotated.
func TestSealedInTwoPieces(t *testing.T) {
	for kind, size := range map[int32]int{17: 60, 18: 60, 19: 64, 20: 72} {
		for _, n := range []int{0, 1, 15, 16, 17, 5000} {
			text := bytes.Repeat([]byte("x"), n)
			c := &Context{tokens: tokens{key: aes(kind), want: 7}}
			signature, sealed, err := c.Seal(text)
			if err != nil || len(signature) != size || len(sealed) != n {
				t.Fatalf("cipher %d: %d and %d bytes for %d, %v", kind, len(signature), len(sealed), n, err)
			}
			et, err := crypto.GetEtype(kind)
			if err != nil {
				t.Fatal(err)
			}
			body := bytes.Clone(append(signature[headerSize:], sealed...))
			turn := int(binary.BigEndian.Uint16(signature[6:]))
			plain, err := et.DecryptMessage(c.tokens.key.KeyValue, append(body[turn:], body[:turn]...), useInitiatorSeal)
			if err != nil || !bytes.Equal(plain[:n], text) || !bytes.Equal(plain[n+8:], signature[8:16]) {
				t.Fatalf("cipher %d, %d bytes: %q, %v", kind, n, plain, err)
			}
			for i, turn := range []int{0, size - 32, 500} {
				token := acceptorToken(t, c.tokens.key, flagAcceptor, uint64(7+i), text, true, turn)
				if got, err := c.Unseal(token[:size:size], token[size:]); err != nil || !bytes.Equal(got, text) {
					t.Fatalf("cipher %d, rotated by %d: %q, %v", kind, turn, got, err)
				}
			}
			token := acceptorToken(t, c.tokens.key, flagAcceptor, 10, append(text, "more"...), true, 0)
			if _, err := c.Unseal(token[:size+1:size+1], token[size+1:]); !errors.Is(err, ErrToken) {
				t.Error("a signature of another length was taken: ", err)
			}
		}
	}
}

// RFC 8009 appendix A: the keys of a password.
func TestKeysOfPasswords(t *testing.T) {
	salt, err := hex.DecodeString("10DF9DD783E5BC8ACEA1730E74355F61")
	if err != nil {
		t.Fatal(err)
	}
	a := (&realm{t: t, name: realmName}).account(t, func(_ *Config, k *Credential) { k.Password = secret.New("password") })
	for kind, want := range map[int32]string{19: "089bca48b105ea6ea77ca5d2f39dc5e7", 20: "45bd806dbf6a833a9cffc1c94589a222367a79bc21c413718906e9f578a78467"} {
		info := types.ETypeInfo2Entry{EType: kind, Salt: string(salt) + "ATHENA.MIT.EDUraeburn", S2KParams: []byte{0, 0, 0x80, 0}}
		key, err := a.passwordKey(&info, "dc1", &messages.ASReq{})
		if err != nil || hex.EncodeToString(key.KeyValue) != want {
			t.Errorf("%d: %x, %v", kind, key.KeyValue, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(header(7, 0, 0), true)
	f.Add(append(header(5, 12, 0), make([]byte, 40)...), false)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		defer bounded.Input(t, len(b))()
		tok := tokens{key: aes(18), acceptorKey: true}
		if _, err := tok.open(b, seal); err == nil {
			t.Error("a token without the key was taken")
		}
	})
}

func FuzzMessages(f *testing.F) {
	r := &realm{t: f, name: realmName}
	f.Add(r.fail(codeRequired, []byte("data"), realmName))
	fields := r.reply(11, types.NewPrincipalName(namePrincipal, userName), realmName, types.NewPrincipalName(nameService, "krbtgt/"+realmName), realmName, 1, serviceKey, useASReply)
	as := messages.ASRep{KDCRepFields: fields}
	f.Add(r.must(as.Marshal()))
	fields.MsgType = 13
	tgs := messages.TGSRep{KDCRepFields: fields}
	f.Add(r.must(tgs.Marshal()))
	f.Add(r.must(frame(2, []byte("\x6f\x03xyz"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		defer bounded.Input(t, len(b))()
		for _, tag := range []int{tagASRep, tagTGSRep} {
			if r, e, err := parseReply(b, tag); err == nil && (r == nil) == (e == nil) {
				t.Error("neither an answer nor an error")
			}
		}
		_, _ = parsePart(b)
		_, _ = methods(b)
		_, _ = ciphersOffered(types.PADataSequence{{PADataType: paETypeInfo2, PADataValue: b}})
		_, _, _ = unframed(b)
		_, _ = Negotiated(b)
		_, _ = decrypt(serviceKey, types.EncryptedData{EType: 18, Cipher: b}, useASReply)
		c := Context{account: &Account{}, service: "HTTP/x", session: serviceKey}
		if c.Finish(b) == nil {
			t.Error("an answer without the key was taken")
		}
	})
}

func FuzzFiles(f *testing.F) {
	f.Add([]byte("\x05\x04\x00\x0c\x00\x01\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x0aFLEET.TEST\x00\x00\x00\x05admin"))
	f.Add([]byte("\x05\x02\x00\x00\x00\x31\x00\x01\x00\x0aFLEET.TEST\x00\x05admin\x00\x00\x00\x01\x00\x00\x00\x00\x01\x00\x11\x00\x100123456789abcdef"))
	f.Fuzz(func(t *testing.T, b []byte) {
		defer bounded.Input(t, len(b))()
		_, _ = parseKeytab(b)
		_, _, _ = parseCache(b)
	})
}
