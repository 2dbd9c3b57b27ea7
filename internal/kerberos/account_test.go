package kerberos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
)

var web = []string{"HTTP/ws1.fleet.test", "WSMAN/ws1.fleet.test"}

// TestOneProofPerVerdict: whoever asks, and how often, a password goes to a KDC once.
func TestOneProofPerVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		realm  *realm
		word   string
		reason Reason
		proofs int
	}{
		"right":    {&realm{}, password, "", 1},
		"wrong":    {&realm{}, "wrong", WrongSecret, 1},
		"locked":   {&realm{refuse: map[string]int32{"proof": codeRevoked}}, password, Revoked, 1},
		"expired":  {&realm{refuse: map[string]int32{"proof": codeExpired}}, password, Expired, 1},
		"policy":   {&realm{refuse: map[string]int32{"proof": codePolicy}}, password, Policy, 1},
		"unknown":  {&realm{refuse: map[string]int32{"first": codeUnknownClient}}, password, UnknownUser, 0},
		"no proof": {&realm{open: true}, "wrong", WrongSecret, 0},
		"silent":   {&realm{muteAS: true}, password, Silent, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := c.realm
				r.t, r.name = t, realmName
				a := r.account(t, func(_ *Config, k *Credential) { k.Password = secret.New(c.word) })
				var all sync.WaitGroup
				for i := range 100 {
					all.Go(func() {
						err := a.Prove(t.Context())
						if i%2 == 0 {
							_, err = a.Context(t.Context(), web, Options{})
						}
						if c.reason != "" {
							says(t, err, c.reason, "")
						} else if err != nil {
							t.Error(err)
						}
					})
				}
				all.Wait()
				if proofs, _, _, _ := r.counts(); proofs != c.proofs {
					t.Errorf("%d proofs left", proofs)
				}
			})
		})
	}
}

// TestWordsForPeople: what a KDC's answer means stands in the error, with whose trouble it is.
func TestWordsForPeople(t *testing.T) {
	for name, c := range map[string]struct {
		realm  *realm
		reason Reason
		text   string
	}{
		"wrong":   {&realm{refuse: map[string]int32{"proof": codeFailed}}, WrongSecret, "the password of admin@FLEET.TEST is wrong (dc1 says so; tried once)"},
		"unknown": {&realm{refuse: map[string]int32{"first": codeUnknownClient}}, UnknownUser, "dc1 does not know the user admin@FLEET.TEST"},
		"locked":  {&realm{refuse: map[string]int32{"proof": codeRevoked}}, Revoked, "admin@FLEET.TEST is locked, disabled or expired (dc1 says so)"},
		"expired": {&realm{refuse: map[string]int32{"proof": codeExpired}}, Expired, "the password of admin@FLEET.TEST has expired (dc1 says so)"},
		"policy":  {&realm{refuse: map[string]int32{"proof": codePolicy}}, Policy, "the domain refuses this logon (policy or armoring)"},
		"rc4":     {&realm{ciphers: []int32{23}}, NoAES, "admin@FLEET.TEST offers RC4 only"},
		"none":    {&realm{refuse: map[string]int32{"first": codeNoCipher}}, NoAES, "admin@FLEET.TEST offers RC4 only"},
		"realm":   {&realm{refuse: map[string]int32{"first": codeWrongRealm}}, WrongRealm, "another Kerberos realm"},
		"year":    {&realm{ahead: -365 * 24 * time.Hour}, ClockSkew, "this computer's clock is 365 days ahead of dc1"},
		"name":    {&realm{services: map[string]bool{}}, UnknownService, "FLEET.TEST knows no HTTP/ or WSMAN/ name for ws1.fleet.test"},
		"machine": {&realm{refuse: map[string]int32{"ticket": codeNoCipher}}, NoAES, "ws1.fleet.test offers RC4 only"},
		"trap":    {&realm{ciphers: []int32{18}, rounds: 1}, Other, "in a way that is not safe"},
		"endless": {&realm{ciphers: []int32{18}, rounds: 1 << 30}, Other, "in a way that is not safe"},
		"circle":  {&realm{refers: map[string]string{realmName: realmName}}, Other, "and back to FLEET.TEST"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := c.realm
				r.t, r.name = t, realmName
				a := r.account(t, func(c *Config, _ *Credential) { c.Resolver = dns{} })
				_, err := a.Context(t.Context(), web, Options{})
				says(t, err, c.reason, c.text)
				if len(hint.Of(err)) == 0 {
					t.Errorf("no advice with %q", err)
				}
				if proofs, _, _, _ := r.counts(); proofs > 0 && (name == "trap" || name == "endless" || name == "year") {
					t.Error("something secret was sent")
				}
			})
		})
	}
}

// dns names the KDCs of the realms that it has.
type dns map[string]string

func (d dns) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	if host := d[name]; host != "" {
		return "", []*net.SRV{{Target: host + ".", Port: 88}}, nil
	}
	return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// TestReferrals: the way leads through the domains that refer to each other, and each is asked at its own KDCs.
func TestReferrals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refers := map[string]string{realmName: "ROOT.TEST", "ROOT.TEST": "LEAF.TEST"}
		r := &realm{t: t, name: realmName, refers: refers}
		var asked []string
		a := r.account(t, func(c *Config, _ *Credential) {
			c.Resolver = dns{"dc._msdcs.root.test": "r1", "leaf.test": "l1"}
			c.DialTCP = func(ctx context.Context, network, address string) (net.Conn, error) {
				if !slices.Contains(asked, address) {
					asked = append(asked, address)
				}
				return r.dial(ctx, network, address)
			}
		})
		if _, err := a.Context(t.Context(), web, Options{}); err != nil {
			t.Fatal(err)
		}
		if want := []string{"dc1:88", "r1:88", "l1:88"}; !slices.Equal(asked, want) {
			t.Error(asked)
		}
		for i := range 12 {
			refers[fmt.Sprintf("R%d.TEST", i)] = fmt.Sprintf("R%d.TEST", i+1)
		}
		refers["LEAF.TEST"] = "R0.TEST"
		a = r.account(t, func(c *Config, _ *Credential) { c.Resolver = everywhere{} })
		_, err := a.Context(t.Context(), web, Options{})
		says(t, err, Other, "refers to ROOT.TEST refers to LEAF.TEST")
	})
}

type everywhere struct{}

func (everywhere) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", []*net.SRV{{Target: "any.", Port: 88}}, nil
}

// TestOurClockIsWrong: everything is dated by the KDC's clock, and it is said once.
func TestOurClockIsWrong(t *testing.T) {
	for _, ahead := range []time.Duration{11 * time.Minute, -11 * time.Minute, 3 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			r := &realm{t: t, name: realmName, ahead: ahead}
			var log bytes.Buffer
			a := r.account(t, func(c *Config, _ *Credential) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
			for range 3 {
				if _, err := a.Context(t.Context(), web, Options{}); err != nil {
					t.Fatal(err)
				}
			}
			if (a.Skew()-ahead).Abs() > 2*time.Second || strings.Count(log.String(), "this computer's clock is") != 1 {
				t.Error(a.Skew(), log.String())
			}
		})
	}
}

// TestDeadAndSlowKDCs: who does not answer costs seconds once, and who is slow works.
func TestDeadAndSlowKDCs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead, alive := &realm{t: t, name: realmName, mute: true}, &realm{t: t, name: realmName}
		a := alive.account(t, func(c *Config, _ *Credential) {
			c.KDCs = []KDC{{Name: "dead"}, {Name: "dc1"}}
			c.DialTCP = func(ctx context.Context, network, address string) (net.Conn, error) {
				if address == "dead:88" {
					return dead.dial(ctx, network, address)
				}
				return alive.dial(ctx, network, address)
			}
		})
		began := time.Now()
		if _, err := a.Context(t.Context(), web, Options{}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took >= 6*time.Second {
			t.Errorf("the first ticket took %v", took)
		}
		began = time.Now()
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				if _, err := a.Context(t.Context(), []string{fmt.Sprintf("HTTP/ws%d.fleet.test", i)}, Options{}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took >= 10*time.Second {
			t.Errorf("the next 1,000 took %v", took)
		}
		if proofs, _, granted, _ := alive.counts(); proofs != 1 || granted < 1000 {
			t.Errorf("%d proofs, %d tickets", proofs, granted)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := &realm{t: t, name: realmName, takes: 10 * time.Second}
		var log bytes.Buffer
		a := r.account(t, func(c *Config, _ *Credential) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		if _, err := a.Context(t.Context(), web, Options{}); err != nil || !strings.Contains(log.String(), "the Kerberos server dc1 is slow") {
			t.Fatal(err, log.String())
		}
		r.takes = time.Minute
		_, err := a.Context(t.Context(), []string{"HTTP/ws2.fleet.test"}, Options{})
		says(t, err, Silent, "no Kerberos server of FLEET.TEST answers: dc1 did not answer within 15s")
		time.Sleep(time.Minute) // until that KDC has had its say
	})
}

// TestTicketsAreRenewed: in the second half of a ticket's life whoever comes first renews it, and nothing secret leaves; where the KDC
// does not renew, the account signs in again when the ticket ends.
func TestTicketsAreRenewed(t *testing.T) {
	for name, c := range map[string]struct {
		life             time.Duration
		refuse           map[string]int32
		proofs, renewals int
	}{
		"ten hours":       {10 * time.Hour, nil, 1, 4},
		"two minutes":     {2 * time.Minute, nil, 1, 25},
		"never renewed":   {10 * time.Hour, map[string]int32{"renew": codePolicy}, 3, 0},
		"two, never":      {2 * time.Minute, map[string]int32{"renew": codePolicy}, 25, 0},
		"half an hour on": {30 * time.Minute, nil, 1, 25},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &realm{t: t, name: realmName, life: c.life, refuse: c.refuse}
				a := r.account(t)
				for i := range 25 { // a day, or 25 lives
					var all sync.WaitGroup
					for range 5 {
						all.Go(func() {
							if _, err := a.Context(t.Context(), []string{fmt.Sprintf("HTTP/ws%d.fleet.test", i)}, Options{}); err != nil {
								t.Error(err)
							}
						})
					}
					all.Wait()
					time.Sleep(min(time.Hour, c.life*3/5))
				}
				if proofs, _, _, renewals := r.counts(); proofs > c.proofs || renewals > c.renewals || c.renewals > 0 && renewals == 0 {
					t.Errorf("%d proofs, %d renewals", proofs, renewals)
				}
			})
		})
	}
}

// TestTheGuardIsAskedBeforeEachProof and told what came of it; what it keeps back does not leave.
func TestTheGuardIsAskedBeforeEachProof(t *testing.T) {
	no := errors.New("not again")
	for name, c := range map[string]struct {
		realm  *realm
		barred error
		reason Reason
		told   int
	}{
		"good":   {&realm{}, nil, "", 1},
		"bad":    {&realm{refuse: map[string]int32{"proof": codeFailed}}, nil, WrongSecret, 1},
		"mute":   {&realm{muteAS: true}, nil, Silent, 1},
		"barred": {&realm{}, no, Barred, 0},
		"nobody": {&realm{refuse: map[string]int32{"first": codeUnknownClient}}, nil, UnknownUser, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := c.realm
				r.t, r.name = t, realmName
				var told []error
				a := r.account(t, func(config *Config, _ *Credential) {
					config.Guard = func(kdc string) (func(error), error) {
						if proofs, _, _, _ := r.counts(); proofs > 0 || kdc != "dc1" {
							t.Errorf("asked for %s after %d proofs", kdc, proofs)
						}
						return func(err error) { told = append(told, err) }, c.barred
					}
				})
				err := a.Prove(t.Context())
				if c.reason == "" && err != nil || c.reason != "" && ReasonOf(err) != c.reason || c.barred != nil && !errors.Is(err, c.barred) {
					t.Fatal(err)
				}
				if len(told) != c.told || c.told == 1 && ReasonOf(told[0]) != ReasonOf(err) {
					t.Error(told)
				}
			})
		})
	}
}

// TestSilenceIsATry: after a secret that nobody answered to, the next leaves when a minute has passed and the guard lets it.
func TestSilenceIsATry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &realm{t: t, name: realmName, muteAS: true}
		a := r.account(t, func(c *Config, _ *Credential) {
			c.Guard = func(string) (func(error), error) { return func(error) {}, nil }
		})
		for range 3 {
			says(t, a.Prove(t.Context()), Silent, "")
		}
		if proofs, _, _, _ := r.counts(); proofs != 1 {
			t.Errorf("%d proofs left", proofs)
		}
		time.Sleep(silence)
		r.mu.Lock()
		r.muteAS = false
		r.mu.Unlock()
		if err := a.Prove(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestCallersLeave: the end of a context ends the waiting for a KDC, and for another caller.
func TestCallersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &realm{t: t, name: realmName, mute: true}
		a := r.account(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if err := a.Prove(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// TestAnswersAreBounded: what a KDC announces is not believed.
func TestAnswersAreBounded(t *testing.T) {
	for name, raw := range map[string][]byte{"huge": {0x7f, 0xff, 0xff, 0xff}, "none": {0, 0, 0, 0}, "short": {0, 0, 0, 9, 1}, "cut": {0}} {
		t.Run(name, func(t *testing.T) {
			r := &realm{t: t, name: realmName}
			a := r.account(t, func(c *Config, _ *Credential) {
				c.DialTCP = func(context.Context, string, string) (net.Conn, error) {
					near, far := net.Pipe()
					go func() {
						_, _ = far.Read(make([]byte, 1<<16))
						_, _ = far.Write(raw)
						_ = far.Close()
					}()
					return near, nil
				}
			})
			says(t, a.Prove(t.Context()), Silent, "no Kerberos server of FLEET.TEST answers")
		})
	}
	r := &realm{t: t, name: realmName, rotten: []byte("\x7e\x03xyz")}
	if err := r.account(t).Prove(t.Context()); !errors.Is(err, errMalformed) {
		t.Error(err)
	}
}

// TestAnswersBelongToTheRequest: an answer of before, sent again, is not taken.
func TestAnswersBelongToTheRequest(t *testing.T) {
	for stale := range 3 {
		synctest.Test(t, func(t *testing.T) {
			a := (&realm{t: t, name: realmName, stale: stale}).account(t)
			_, err := a.Context(t.Context(), web, Options{})
			if stale == 0 != (err == nil) || err != nil && !strings.Contains(err.Error(), "belongs to another request") {
				t.Error(stale, err)
			}
		})
	}
}

// TestManyTickets: the store of tickets does not grow without end.
func TestManyTickets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := (&realm{t: t, name: realmName}).account(t)
		for i := range 3 * mostTickets {
			a.place(fmt.Sprint(i))
			if i%100 == 0 {
				time.Sleep(time.Second)
			}
		}
		if n := len(a.tickets); n > mostTickets || n < mostTickets/4 {
			t.Errorf("%d tickets are kept", n)
		}
	})
}
