package winrm

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/bodgit/ntlmssp"

	"github.com/fleetmend/fleetmend/internal/secret"
)

// field is a part of a message, by where its length and place stand.
func field(m []byte, at int) []byte {
	length, offset := binary.LittleEndian.Uint16(m[at:]), binary.LittleEndian.Uint32(m[at+4:])
	return m[offset : offset+uint32(length)]
}

// Our messages are, byte for byte, those of a library that was written by others and is used against Windows, where it had drawn
// the same random numbers; and what either seals the other opens.
func TestNTLMAgainstALibrary(t *testing.T) {
	dice := rand.New(rand.NewPCG(4, 2)) //nolint:gosec // a test draws cases
	text := func(n int) string {
		b := make([]byte, dice.IntN(n+1))
		for i := range b {
			b[i] = byte('a' + dice.IntN(26))
		}
		return string(b)
	}
	accounts := []Credential{{User: "User", Domain: "Domain"}, {User: "admin"}, {User: "\u00e4dmin@corp.example"}, {User: "J\u00fcrgen \U0001f600", Domain: " CORP "}}
	for round := range 400 {
		c := accounts[round%len(accounts)]
		password := "P\u00e4ss" + text(30)
		c.Password = secret.New(password)
		pairs := []any{2, 8, "C\x00O\x00R\x00P\x00"}
		if dice.IntN(2) == 0 {
			pairs = append(pairs, 6, 4, string([]byte{byte(dice.IntN(8)), 0, 0, 0}))
		}
		if name := text(20); dice.IntN(2) == 0 {
			pairs = append(pairs, 3, len(name), name, 2, len(name), name) // one twice
		}
		if dice.IntN(3) > 0 {
			pairs = append(pairs, 7, 8, string(binary.LittleEndian.AppendUint64(nil, dice.Uint64())))
		}
		flags := uint32(flagsWanted) | dice.Uint32()&(flagOEM|flagAlwaysSign|flagVersion|flag56|1<<2|1<<9)
		asked := challenge(flags, append(pairs, 0, 0, "")...)
		var binding []byte
		var bindings *ntlmssp.ChannelBindings
		if dice.IntN(2) == 0 {
			binding = []byte(text(32))
			bindings = &ntlmssp.ChannelBindings{ApplicationData: append([]byte(ntlmssp.TLSServerEndPoint+":"), binding...)}
		}
		theirs, err := ntlmssp.NewClient(ntlmssp.SetCompatibilityLevel(5), ntlmssp.SetUserInfo(c.User, password), ntlmssp.SetDomain(c.Domain),
			ntlmssp.SetVersion(&ntlmssp.Version{ProductMajorVersion: 10, ProductBuild: 19041, NTLMRevisionCurrent: ntlmssp.NTLMSSPRevisionW2K3}))
		if err != nil {
			t.Fatal(err)
		}
		first, err := theirs.Authenticate(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		want, err := theirs.Authenticate(asked, bindings)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := newNTLM(c)
		if err != nil {
			t.Fatal(err)
		}
		if got := ours.negotiate(); !bytes.Equal(got, first) {
			t.Fatalf("first message\n%x, want\n%x", got, first)
		}
		nt := field(want, 20)
		account := hmac.New(md5.New, passwordHash(password))
		account.Write(utf16le(strings.ToUpper(c.User) + strings.TrimSpace(c.Domain)))
		owf := hmac.New(md5.New, account.Sum(nil))
		owf.Write(nt[:16])
		key := make([]byte, 16)
		if err := xor(owf.Sum(nil), key, field(want, 52)); err != nil {
			t.Fatal(err)
		}
		now := time.Unix(0, int64(binary.LittleEndian.Uint64(nt[24:])-116_444_736_000_000_000)*100)
		got, err := ours.answer(asked, binding, now, nt[32:40], key)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("round %d, third message %v\n%x, want\n%x", round, err, got, want)
		}
		back, err := newSealing(key, "server-to-client")
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			message := []byte(text(5000))
			sealed, signature, err := theirs.SecuritySession().Wrap(message)
			if err != nil {
				t.Fatal(err)
			}
			mine := bytes.Clone(message)
			if s, got, err := ours.seal(mine); err != nil || !bytes.Equal(s, signature) || !bytes.Equal(got, sealed) {
				t.Fatalf("sealed as %x, %v", s, err)
			}
			server := &ntlmClient{out: back}
			told := bytes.Clone(message)
			s, _, err := server.seal(told)
			if err != nil {
				t.Fatal(err)
			}
			back = server.out
			if clear, err := theirs.SecuritySession().Unwrap(told, s); err != nil || !bytes.Equal(clear, message) {
				t.Fatalf("theirs does not open it: %v", err)
			}
			if clear, err := ours.unseal(sealedPart{signature: s, data: told}); err != nil || !bytes.Equal(clear, message) {
				t.Fatalf("ours does not open it: %v", err)
			}
		}
	}
}

// A message that was changed, repeated or left out does not open.
func TestABrokenSealDoesNotOpen(t *testing.T) {
	for name, change := range map[string]func(first, second *sealedPart) *sealedPart{
		"text":      func(first, _ *sealedPart) *sealedPart { first.data[0] ^= 1; return first },
		"code":      func(first, _ *sealedPart) *sealedPart { first.signature[4] ^= 1; return first },
		"number":    func(first, _ *sealedPart) *sealedPart { first.signature[12] ^= 1; return first },
		"version":   func(first, _ *sealedPart) *sealedPart { first.signature[0] ^= 2; return first },
		"cut":       func(first, _ *sealedPart) *sealedPart { first.data = first.data[:4]; return first },
		"short":     func(first, _ *sealedPart) *sealedPart { first.signature = first.signature[:12]; return first },
		"left out":  func(_, second *sealedPart) *sealedPart { return second },
		"unchanged": func(first, _ *sealedPart) *sealedPart { return first },
	} {
		key := bytes.Repeat([]byte{7}, 16)
		from, err := newSealing(key, "server-to-client")
		if err != nil {
			t.Fatal(err)
		}
		server, client := &ntlmClient{out: from}, &ntlmClient{}
		if err := client.keys(key); err != nil {
			t.Fatal(err)
		}
		var parts [2]sealedPart
		for i := range parts {
			parts[i].data = []byte("answer")
			var err error
			if parts[i].signature, _, err = server.seal(parts[i].data); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := client.unseal(*change(&parts[0], &parts[1])); (err == nil) != (name == "unchanged") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The hash of MS-NLMP section 4.2.2.1.2, and an account whose name would not fit into a message.
func TestNTLMBySpecification(t *testing.T) {
	if got := hex.EncodeToString(passwordHash("Password")); got != "a4f49c406510bdcab6824ee7c30fd852" {
		t.Error(got)
	}
	n, err := newNTLM(Credential{User: strings.Repeat("u", longestPart), Password: testPassword})
	if err != nil {
		t.Fatal(err)
	}
	n.negotiate()
	if _, err := n.authenticate(challenge(flagsWanted, 0, 0, ""), nil); err == nil {
		t.Error("a name that does not fit")
	}
}
