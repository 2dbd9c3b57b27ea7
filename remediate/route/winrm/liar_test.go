package winrm_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/simfleet"
	"github.com/fleetmend/fleetmend/internal/simfleet/ntlm"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/route/winrm"
	"github.com/fleetmend/fleetmend/remediate/signin"
)

// liar is a far end that takes whoever comes, and knows no password: then says what comes after that.
func liar(t *testing.T, then http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := r.Context().Value(frontKey{}).(*front)
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Negotiate ")
		raw, _ := base64.StdEncoding.DecodeString(token)
		switch {
		case !ok:
			then(w, r)
		case ntlm.Type(raw) == 1:
			challenge, err := f.acceptor.Challenge(raw)
			if err != nil {
				t.Error(err)
			}
			w.Header().Set("WWW-Authenticate", "Negotiate "+base64.StdEncoding.EncodeToString(challenge))
			w.WriteHeader(401)
		}
	}))
	server.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, frontKey{}, &front{acceptor: ntlm.NewAcceptor(ntlm.Names{Computer: "EVIL", Domain: "FLEET", DNSDomain: "fleet.test"}, rand.Reader, time.Now)})
	}
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// A far end that answers 200 to whoever signs in is no witness of a wrong password.
func TestAFarEndThatTakesAnythingClearsNoRefusal(t *testing.T) {
	const plain = `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body/></s:Envelope>`
	for name, then := range map[string]http.HandlerFunc{
		"busy":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"nothing": func(http.ResponseWriter, *http.Request) {},
		"again":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) },
		"plain": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/soap+xml;charset=UTF-8")
			_, _ = fmt.Fprint(w, plain)
		},
		"fault": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/soap+xml;charset=UTF-8")
			w.WriteHeader(500)
			_, _ = fmt.Fprint(w, plain)
		},
		"sealed with another key": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", `multipart/encrypted;protocol="application/HTTP-SPNEGO-session-encrypted";boundary="Encrypted Boundary"`)
			_, _ = fmt.Fprintf(w, "%s\r\n\tContent-Type: application/HTTP-SPNEGO-session-encrypted\r\n\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length=%d\r\n"+
				"%s\r\n\tContent-Type: application/octet-stream\r\n\x10\x00\x00\x00\x01\x00\x00\x0012345678\x00\x00\x00\x00%s%s--\r\n",
				sealedBoundary, len(plain), sealedBoundary, plain, sealedBoundary)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := startFleet(t, simfleet.Options{Machines: 12, Seed: 4, Mix: &simfleet.Mix{Affected: 1}})
			config := ways(t, f)["ntlm sealed over http"]
			config.Credential = wrongly(config.Credential)
			r, fix := mustRoute(t, config), channelFile(t)
			evil := route.Target{ID: "EVIL", Name: "EVIL", Address: liar(t, then)}
			ask := func(target route.Target) error {
				_, err := r.Do(t.Context(), target, agent.Request{Run: "r1", Nonce: agent.Nonce(), Mode: agent.Detect, Playbook: fix})
				return err
			}
			if err := ask(evil); err == nil {
				t.Error("it passed for a machine")
			}
			fanOut(f.Machines(), 12, func(info simfleet.Info) { _ = ask(targetOf(info)); _ = ask(evil) })
			if s := settled(t, f); s.FailedLogons > 2 {
				t.Errorf("%d failed logons", s.FailedLogons)
			}
		})
	}
}

// Where the domain has taken the account a conversation is its own proof. Far ends that take whoever comes are no witnesses then either,
// count nothing, and keep nobody who is good, however many they are.
func TestFarEndsThatTakeAnythingInADomainThatIsProven(t *testing.T) {
	f := startFleet(t, simfleet.Options{Machines: 12, Seed: 4, Mix: &simfleet.Mix{Affected: 1}})
	config, book := ways(t, f)["ntlm sealed over http"], &signin.Memory{}
	config.Ledger = signin.New(book, signin.Rule{})
	r, fix := mustRoute(t, config), channelFile(t)
	ask := func(target route.Target) error {
		_, err := r.Do(t.Context(), target, agent.Request{Run: "r1", Nonce: agent.Nonce(), Mode: agent.Detect, Playbook: fix})
		return err
	}
	machines := f.Machines()
	if err := ask(targetOf(machines[0])); err != nil {
		t.Fatal(err)
	}
	address := liar(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) })
	fanOut(machines, 12, func(info simfleet.Info) {
		evil := route.Target{ID: "EVIL" + info.Name, Name: "EVIL", Address: address}
		if err := ask(evil); route.ClassOf(err) != route.Untrusted {
			t.Errorf("a liar: %v", err)
		}
		if err := ask(targetOf(info)); err != nil {
			t.Error(err)
		}
	})
	took, err := book.Took(t.Context(), winrm.AccountKey(`FLEET\admin`), "FLEET", 100)
	if err != nil || len(took) == 0 || slices.ContainsFunc(took, func(t route.Target) bool { return t.Name == "EVIL" }) {
		t.Errorf("took it: %v %v", took, err)
	}
	if states := book.States(); slices.ContainsFunc(states, signin.State.Counts) {
		t.Errorf("%v", states)
	}
}

// silent answers nothing until whoever asked is gone.
func silent(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// hurried is a ledger whose sign-ins are not waited for.
type hurried struct {
	wait       time.Duration
	unanswered atomic.Int32
}

func (h *hurried) Try(context.Context, route.Account, route.Target, route.Ask) (route.Trial, error) {
	return h, nil
}
func (h *hurried) Wait() time.Duration         { return h.wait }
func (*hurried) Taken() bool                   { return false }
func (*hurried) Accepted()                     {}
func (*hurried) Refused(context.Context) error { return nil }
func (h *hurried) Unanswered()                 { h.unanswered.Add(1) }
func (*hurried) Unjudged()                     {}

// Silence after the secret was sent, or in place of the proof, ends when the ledger says so.
func TestSilenceAfterTheSecretIsWaitedForAsTheLedgerSays(t *testing.T) {
	ledger := &hurried{wait: 30 * time.Millisecond}
	r := mustRoute(t, winrm.Config{Credential: fixed(user, password), Ledger: ledger})
	_, err := r.Run(t.Context(), route.Target{ID: "EVIL", Name: "EVIL", Address: liar(t, silent)}, "x", nil)
	if err == nil || !strings.Contains(err.Error(), "no answer within 30ms") || ledger.unanswered.Load() != 1 {
		t.Errorf("%v, %d unanswered", err, ledger.unanswered.Load())
	}
}

// Whoever took the account is waited for as ever.
func TestOnlyTheSignInIsHurried(t *testing.T) {
	h, wait := newHost(t), 3*time.Second
	h.on["create"] = func(c *call) { time.Sleep(wait + wait/10); c.normal() }
	h.stdout = func([]byte) []byte { return nil }
	h.startSealed()
	r := mustRoute(t, winrm.Config{Credential: fixed(user, password), Ledger: &hurried{wait: wait}, CleanupTimeout: patience})
	if _, err := r.Run(t.Context(), route.Target{ID: "1", Name: "WS1", Address: h.address()}, "x", []byte("y")); err != nil {
		t.Error(err)
	}
}
