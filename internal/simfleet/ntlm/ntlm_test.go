package ntlm

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/bounded"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func equal(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	if hex.EncodeToString(got) != want {
		t.Errorf("%s = %x, want %s", what, got, want)
	}
}

// TestSpecificationVectors holds the keys, the proof, and the sealing to MS-NLMP section 4.2.4.
func TestSpecificationVectors(t *testing.T) {
	hash := Hash("Password")
	equal(t, "NTOWFv1", hash[:], "a4f49c406510bdcab6824ee7c30fd852")
	key := responseKey(hash, "User", "Domain")
	equal(t, "NTOWFv2", key, "0c868a403bfd7a93a3001ef22ef02e3f")
	temp := unhex(t, "01010000000000000000000000000000aaaaaaaaaaaaaaaa00000000"+
		"02000c0044006f006d00610069006e0001000c005300650072007600650072000000000000000000")
	proof := hmacMD5(key, unhex(t, "0123456789abcdef"), temp)
	equal(t, "NTProofStr", proof, "68cd0ab851e51c96aabc927bebef6a1c")
	base := hmacMD5(key, proof)
	equal(t, "SessionBaseKey", base, "8de40ccadbc14a82f15cb0ad0de95ca3")
	random := bytes.Repeat([]byte{0x55}, 16)
	encrypted := rc4Once(base, random)
	equal(t, "EncryptedRandomSessionKey", encrypted, "c5dad2544fc9799094ce1ce90bc9d03e")
	exported, err := sessionKey(flagKeyExchange|flagSeal, base, encrypted)
	if err != nil || !bytes.Equal(exported, random) {
		t.Errorf("exported session key = %x, %v", exported, err)
	}
	d := newDirection(flag128|flagKeyExchange, random, clientSigning, clientSealing)
	equal(t, "SIGNKEY", d.sign, "4788dc861b4782f35d43fd98fe1a2d39")
	equal(t, "SEALKEY", d.seal, "59f600973cc4960a25480a7c196e4c58")
	plain := utf16le("Plaintext")
	s := &Session{in: d, out: newDirection(flag128|flagKeyExchange, random, clientSigning, clientSealing)}
	mac, sealed := s.Seal(plain)
	equal(t, "sealed", sealed, "54e50165bf1936dc996020c1811b0f06fb5f")
	equal(t, "signature", mac, "010000007fb38ec5c55d497600000000")
	opened, err := s.Open(mac, sealed)
	if err != nil || !bytes.Equal(opened, plain) {
		t.Errorf("opened = %x, %v", opened, err)
	}
}

var names = Names{Computer: "LON-WS-1", Domain: "FLEET", DNSComputer: "lon-ws-1.fleet.test", DNSDomain: "fleet.test"}

const clientFlags = flagUnicode | flagRequestTarget | flagSign | flagSeal | flagNTLM | flagAlwaysSign |
	flagExtendedSession | flagVersion | flag128 | flagKeyExchange | flag56

// client is a small NTLMv2 client, written for this test only.
type client struct {
	user, domain, password string
	token                  []byte // channel binding; nil sends none
	noMIC                  bool
	exported               []byte
}

func (c *client) negotiate() []byte {
	out := make([]byte, 40)
	copy(out, signature)
	out[8] = 1
	binary.LittleEndian.PutUint32(out[12:], clientFlags)
	return out
}

func (c *client) authenticate(t testing.TB, challenge []byte) []byte {
	t.Helper()
	info, err := field(challenge, 40)
	if err != nil {
		t.Fatal(err)
	}
	av, err := pairs(info)
	if err != nil {
		t.Fatal(err)
	}
	blob := append([]byte{1, 1, 0, 0, 0, 0, 0, 0}, av[avTimestamp]...)
	blob = append(blob, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0)
	blob = append(blob, info[:len(info)-4]...)
	if !c.noMIC {
		blob = appendPair(blob, avFlags, []byte{2, 0, 0, 0})
	}
	if c.token != nil {
		blob = appendPair(blob, avChannelBindings, c.token)
	}
	blob = append(appendPair(blob, avEOL, nil), 0, 0, 0, 0)
	key := responseKey(Hash(c.password), c.user, c.domain)
	proof := hmacMD5(key, challenge[24:32], blob)
	c.exported = bytes.Repeat([]byte{0x42}, 16)
	parts := [][]byte{make([]byte, 24), append(bytes.Clone(proof), blob...), utf16le(c.domain), utf16le(c.user), utf16le("WS"), rc4Once(hmacMD5(key, proof), c.exported)}
	out := make([]byte, 88)
	copy(out, signature)
	out[8] = 3
	binary.LittleEndian.PutUint32(out[60:], binary.LittleEndian.Uint32(challenge[20:]))
	for i, p := range parts {
		putField(out[12+8*i:], len(p), len(out))
		out = append(out, p...)
	}
	copy(out[72:], hmacMD5(c.exported, c.negotiate(), challenge, out))
	return out
}

func lookup(user, _ string) ([16]byte, bool) {
	return Hash("Fleet-Pa55!"), user == "admin"
}

func handshake(t *testing.T, c *client, binding Binding, spoil func([]byte)) (*Session, error) {
	t.Helper()
	a := NewAcceptor(names, bytes.NewReader(bytes.Repeat([]byte{7}, 64)), time.Now)
	challenge, err := a.Challenge(c.negotiate())
	if err != nil {
		t.Fatal(err)
	}
	message := c.authenticate(t, challenge)
	if spoil != nil {
		spoil(message)
	}
	s, user, domain, err := a.Authenticate(message, lookup, binding)
	if err == nil && (user != c.user || domain != c.domain || s.User != user || s.Domain != domain || !s.CanSeal) {
		t.Errorf("session of %s\\%s (%+v), want %s\\%s", domain, user, s, c.domain, c.user)
	}
	return s, err
}

func TestHandshake(t *testing.T) {
	token := EndPointToken([]byte("hash of a certificate"))
	good := client{user: "admin", domain: "FLEET", password: "Fleet-Pa55!"}
	with := func(change func(*client)) *client { c := good; change(&c); return &c }
	bound := with(func(c *client) { c.token = token })
	wrong := with(func(c *client) { c.token = EndPointToken([]byte("another")) })
	for name, test := range map[string]struct {
		client  *client
		binding Binding
		spoil   func([]byte)
		want    error
	}{
		"good":                  {client: &good},
		"without MIC":           {client: with(func(c *client) { c.noMIC = true })},
		"wrong password":        {client: with(func(c *client) { c.password = "no" }), want: ErrLogon},
		"unknown user":          {client: with(func(c *client) { c.user = "nobody" }), want: ErrLogon},
		"spoilt MIC":            {client: &good, spoil: func(m []byte) { m[75] ^= 1 }, want: ErrMIC},
		"flags changed on wire": {client: &good, spoil: func(m []byte) { m[63] &^= 0x80 }, want: ErrMIC},
		"relaxed, none":         {client: &good, binding: Binding{Relaxed, token}},
		"relaxed, zero":         {client: with(func(c *client) { c.token = make([]byte, 16) }), binding: Binding{Relaxed, token}},
		"relaxed, right":        {client: bound, binding: Binding{Relaxed, token}},
		"relaxed, wrong":        {client: wrong, binding: Binding{Relaxed, token}, want: ErrBinding},
		"strict, none":          {client: &good, binding: Binding{Strict, token}, want: ErrBinding},
		"strict, zero":          {client: with(func(c *client) { c.token = make([]byte, 16) }), binding: Binding{Strict, token}, want: ErrBinding},
		"strict, right":         {client: bound, binding: Binding{Strict, token}},
		"strict over http":      {client: &good, binding: Binding{Strict, nil}},
		"none, wrong":           {client: wrong, binding: Binding{None, token}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := handshake(t, test.client, test.binding, test.spoil)
			if !errors.Is(err, test.want) || (test.want == nil) != (s != nil) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
		})
	}
}

// TestSessionBothWays seals and opens as the client would, several messages in each direction, with a reset between.
func TestSessionBothWays(t *testing.T) {
	c := &client{user: "admin", domain: "FLEET", password: "Fleet-Pa55!"}
	s, err := handshake(t, c, Binding{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const flags = flag128 | flagKeyExchange | flagSeal
	peer := &Session{in: newDirection(flags, c.exported, serverSigning, serverSealing), out: newDirection(flags, c.exported, clientSigning, clientSealing)}
	if err := s.Verify([]byte("mechanisms"), peer.Sign([]byte("mechanisms"))); err != nil {
		t.Fatal(err)
	}
	s.ResetIn()
	peer.ResetOut()
	for i, text := range []string{"one", "two", ""} {
		mac, sealed := peer.Seal([]byte(text))
		if got, err := s.Open(mac, sealed); err != nil || string(got) != text {
			t.Fatalf("message %d to the server: %q, %v", i, got, err)
		}
		mac, sealed = s.Seal([]byte(text))
		if got, err := peer.Open(mac, sealed); err != nil || string(got) != text {
			t.Fatalf("message %d to the client: %q, %v", i, got, err)
		}
	}
	mac, sealed := peer.Seal([]byte("spoilt"))
	sealed[0] ^= 1
	if _, err := s.Open(mac, sealed); !errors.Is(err, ErrSeal) {
		t.Fatalf("a spoilt message opened: %v", err)
	}
}

func TestAChallengeServesOnce(t *testing.T) {
	c := &client{user: "admin", domain: "FLEET", password: "Fleet-Pa55!"}
	a := NewAcceptor(names, bytes.NewReader(make([]byte, 64)), time.Now)
	if _, _, _, err := a.Authenticate(make([]byte, 100), lookup, Binding{}); !errors.Is(err, ErrOrder) {
		t.Fatalf("type 3 first: %v", err)
	}
	challenge, err := a.Challenge(c.negotiate())
	if err != nil {
		t.Fatal(err)
	}
	message := c.authenticate(t, challenge)
	if _, _, _, err := a.Authenticate(message, lookup, Binding{}); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := a.Authenticate(message, lookup, Binding{}); !errors.Is(err, ErrOrder) {
		t.Fatalf("replayed type 3: %v", err)
	}
}

func FuzzAuthenticate(f *testing.F) {
	c := &client{user: "admin", domain: "FLEET", password: "Fleet-Pa55!"}
	a := NewAcceptor(names, bytes.NewReader(make([]byte, 64)), time.Now)
	challenge, err := a.Challenge(c.negotiate())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(c.authenticate(f, challenge))
	f.Add(c.negotiate())
	f.Fuzz(func(t *testing.T, message []byte) {
		defer bounded.Input(t, len(message))()
		a := NewAcceptor(names, bytes.NewReader(make([]byte, 64)), time.Now)
		_, _ = a.Challenge(message)
		if _, err := a.Challenge(c.negotiate()); err != nil {
			t.Fatal(err)
		}
		// The parser must not panic even when the proof is right, so everything behind it is called directly too.
		if auth, err := parseAuthenticate(message); err == nil && len(auth.ntResponse) >= 48 {
			_, _ = pairs(auth.ntResponse[44:])
		}
		_, _, _, _ = a.Authenticate(message, lookup, Binding{Level: Strict, Token: make([]byte, 16)})
	})
}
