package winrm_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/leaktest"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/simfleet"
	"github.com/fleetmend/fleetmend/internal/simfleet/ntlm"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/route/winrm"
)

// The simulated fleet shares no code with this package: its NTLM, sealing and WS-Man are written independently.

func startFleet(t testing.TB, o simfleet.Options) *simfleet.Fleet {
	t.Helper()
	f, err := simfleet.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// ways are all ways to authenticate against a fleet.
func ways(t testing.TB, f *simfleet.Fleet) map[string]winrm.Config {
	user, domain, password := f.Account()
	account := func(context.Context, route.Target) (winrm.Credential, error) {
		return winrm.Credential{User: user, Domain: domain, Password: password}, nil
	}
	principal := func(context.Context, route.Target) (winrm.Credential, error) {
		return winrm.Credential{User: user + "@fleet.test", Password: password}, nil
	}
	certificate, key, err := f.ClientCertificate()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]winrm.Config{
		"ntlm sealed over http":          {Credential: account},
		"ntlm with a principal name":     {Credential: principal},
		"ntlm over https with a binding": {Scheme: "https", Credential: account, RootCAs: f.CA()},
		"basic over https":               {Scheme: "https", Auth: winrm.AuthBasic, Credential: account, RootCAs: f.CA()},
		"client certificate over https":  {Scheme: "https", Auth: winrm.AuthCertificate, Certificate: &pair, RootCAs: f.CA()},
	}
}

func mustRoute(t testing.TB, config winrm.Config) *winrm.Route {
	t.Helper()
	r, err := winrm.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func channelFile(t testing.TB) playbook.Playbook {
	t.Helper()
	source, err := playbook.Builtin("crowdstrike-channel-file-291")
	if err != nil {
		t.Fatal(err)
	}
	p, err := source.Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	p.Reboot = playbook.RebootNever
	return p
}

func targetOf(info simfleet.Info) route.Target {
	return route.Target{ID: info.Name, Name: info.Name, Address: info.Address}
}

// settled waits until the fleet has noticed that every connection is gone.
func settled(t testing.TB, f *simfleet.Fleet) simfleet.Stats {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(patience); ; {
		s := f.Stats()
		if s.Connections == 0 {
			return s
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%d connections are still open", s.Connections)
		}
	}
}

func TestEveryWayFixesAMachine(t *testing.T) {
	leaktest.Check(t)
	fix := channelFile(t)
	f := startFleet(t, simfleet.Options{Machines: 5, Seed: 4, Mix: &simfleet.Mix{Affected: 1}, AllowBasic: true, CBT: ntlm.Strict})
	machines := f.Machines()
	i := 0
	for name, config := range ways(t, f) {
		r, target := mustRoute(t, config), targetOf(machines[i])
		i++
		before := f.Stats().Requests
		if err := r.Alive(t.Context(), target); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, step := range []struct {
			mode    agent.Mode
			outcome string
		}{{agent.Detect, agent.Affected}, {agent.Fix, agent.Fixed}, {agent.Fix, agent.Fixed}, {agent.Verify, agent.Fixed}, {agent.Undo, agent.Undone}} {
			result, err := r.Do(t.Context(), target, agent.Request{Run: "r1", Nonce: agent.Nonce(), Mode: step.mode, Playbook: fix})
			if err != nil || result.Outcome != step.outcome {
				t.Errorf("%s: %s: %+v, %v", name, step.mode, result, err)
			}
		}
		// Eight each, and some more when a busy computer makes output come in parts.
		if used := f.Stats().Requests - before - 1; used > 5*8+5 {
			t.Errorf("%s: %d requests for 5 questions", name, used)
		}
	}
	if s := settled(t, f); s.FailedLogons != 0 || s.Shells != 0 || s.Changes != 10 || s.ConnectionsEver != 5*6 {
		t.Errorf("%+v", s)
	}
}

// A machine of every kind, over sealed NTLM.
func TestEveryKindOfMachine(t *testing.T) {
	leaktest.Check(t)
	f := startFleet(t, simfleet.Options{Machines: 9, Seed: 4, Mix: &simfleet.Mix{Affected: 1. / 9, Slow: 1. / 9, DropBefore: 1. / 9, DropAfter: 1. / 9,
		Busy: 1. / 9, Broken: 1. / 9, Denied: 1. / 9, Refused: 1. / 9, BlackHole: 1. / 9}})
	config := ways(t, f)["ntlm sealed over http"]
	config.ReceiveTimeout = patience
	r, fix := mustRoute(t, config), channelFile(t)
	config.ReceiveTimeout = 100 * time.Millisecond
	hasty := mustRoute(t, config)    // for the machine that never answers
	want := map[simfleet.Kind][]any{ // what each try gives
		simfleet.Affected: {agent.Fixed}, simfleet.Slow: {agent.Fixed}, simfleet.Broken: {agent.Failed},
		simfleet.DropBefore: {route.Unreachable, agent.Fixed}, simfleet.DropAfter: {route.Unknown, agent.Fixed}, simfleet.Busy: {route.Busy, agent.Fixed},
		simfleet.Denied: {route.Denied}, simfleet.Refused: {route.Unreachable}, simfleet.BlackHole: {route.Unreachable},
	}
	var group sync.WaitGroup
	for _, info := range f.Machines() {
		group.Go(func() {
			r := r
			if info.Kind == simfleet.BlackHole {
				r = hasty
			}
			for try, expected := range want[info.Kind] {
				result, err := r.Do(t.Context(), targetOf(info), agent.Request{Run: "r1", Nonce: agent.Nonce(), Mode: agent.Fix, Playbook: fix})
				var got any = result.Outcome
				if err != nil {
					got = route.ClassOf(err)
				}
				if got != expected {
					t.Errorf("%s, try %d: %v, want %v: %v", info.Kind, try+1, got, expected, err)
				}
				if info.Kind == simfleet.DropAfter && try == 1 && !result.Repeated {
					t.Error("the second answer did not come from the machine's record")
				}
			}
		})
	}
	group.Wait()
	if s := settled(t, f); s.FailedLogons != 0 || s.Shells > 1 { // the shell whose connection was cut waits for its idle timeout
		t.Errorf("%+v", s)
	}
}

func TestFaultsOfASimulatedMachine(t *testing.T) {
	f := startFleet(t, simfleet.Options{Machines: 1, Seed: 4, Mix: &simfleet.Mix{Affected: 1}, AllowBasic: true})
	target, fix := targetOf(f.Machines()[0]), channelFile(t)
	for name, config := range ways(t, f) {
		config.MaxOutput = 1 << 20
		for label, row := range map[string]struct {
			faults simfleet.Faults
			class  route.Class
			op     string
		}{
			"garbage":       {simfleet.Faults{Garbage: []byte("<html>")}, "", ""},
			"cut create":    {simfleet.Faults{Drops: []simfleet.Drop{{Operation: "create", Byte: 30, Times: 1}}}, route.Unreachable, "create"},
			"cut command":   {simfleet.Faults{Drops: []simfleet.Drop{{Operation: "command", Byte: 200, Times: 1}}}, route.Unknown, "command"},
			"cut send":      {simfleet.Faults{Drops: []simfleet.Drop{{Operation: "send", Byte: 0, Times: 1}}}, route.Unknown, "send"},
			"cut receive":   {simfleet.Faults{Drops: []simfleet.Drop{{Operation: "receive", Byte: 500, Times: 1}}}, route.Unknown, "receive"},
			"cut delete":    {simfleet.Faults{Drops: []simfleet.Drop{{Operation: "delete", Byte: 0, Times: 1}}}, "ok", ""},
			"quota":         {simfleet.Faults{Refuse: []simfleet.Refusal{{Operation: "command", Code: 2150859174, Times: 1}}}, route.Busy, "command"},
			"profile":       {simfleet.Faults{Refuse: []simfleet.Refusal{{Operation: "command", Code: 2147943418, Times: 1}}}, "ok", ""},
			"shell is gone": {simfleet.Faults{Refuse: []simfleet.Refusal{{Operation: "receive", Code: 2150858843, Times: 1}}}, route.Unknown, "receive"},
		} {
			if err := f.SetFaults(target.Name, row.faults); err != nil {
				t.Fatal(err)
			}
			r := mustRoute(t, config) // of its own: garbage is no proof that the account was taken
			result, err := r.Do(t.Context(), target, agent.Request{Run: "r1", Nonce: agent.Nonce(), Mode: agent.Detect, Playbook: fix})
			switch {
			case label == "garbage":
				if class := route.ClassOf(err); class != route.Refused && class != route.Untrusted {
					t.Errorf("%s: %s: %v", name, label, err)
				}
			case row.class == "ok":
				if err != nil || result.Outcome == "" {
					t.Errorf("%s: %s: %v", name, label, err)
				}
			default:
				check(t, name+": "+label, err, row.class, row.op)
			}
		}
	}
	settled(t, f)
}

func TestFloodIsBounded(t *testing.T) {
	f := startFleet(t, simfleet.Options{Machines: 1, Seed: 4, Mix: &simfleet.Mix{Affected: 1}})
	target := targetOf(f.Machines()[0])
	if err := f.SetFaults(target.Name, simfleet.Faults{Flood: 200 << 20}); err != nil {
		t.Fatal(err)
	}
	r := mustRoute(t, ways(t, f)["ntlm sealed over http"])
	_, err := r.Do(t.Context(), target, agent.Request{Run: "r1", Nonce: agent.Nonce(), Mode: agent.Detect, Playbook: channelFile(t)})
	check(t, "flood", err, route.Overflow, "receive")
	if s := settled(t, f); s.Shells != 0 {
		t.Errorf("%d shells left", s.Shells)
	}
}

// wrongly gives the accounts of credentials with a wrong password.
func wrongly(right func(context.Context, route.Target) (winrm.Credential, error)) func(context.Context, route.Target) (winrm.Credential, error) {
	return func(ctx context.Context, target route.Target) (winrm.Credential, error) {
		c, err := right(ctx, target)
		c.Password = secret.New("wrong")
		return c, err
	}
}

func TestWrongPasswordIsTriedOnceInTheFleet(t *testing.T) {
	leaktest.Check(t)
	f := startFleet(t, simfleet.Options{Machines: 200, Seed: 4, Mix: &simfleet.Mix{Affected: 1}})
	config := ways(t, f)["ntlm sealed over http"]
	config.Credential = wrongly(config.Credential)
	r, fix := mustRoute(t, config), channelFile(t)
	classes := map[route.Class]int{}
	var mu sync.Mutex
	fanOut(f.Machines(), 200, func(info simfleet.Info) {
		_, err := r.Do(t.Context(), targetOf(info), agent.Request{Run: "r1", Nonce: agent.Nonce(), Mode: agent.Detect, Playbook: fix})
		mu.Lock()
		classes[route.ClassOf(err)]++
		mu.Unlock()
	})
	if s := settled(t, f); s.FailedLogons != 1 || classes[route.Auth] != 1 || classes[route.Stopped] != 199 {
		t.Errorf("%d failed logons, classes %v", s.FailedLogons, classes)
	}
}

// Machines that take connections and never answer must not keep the others waiting for the first verdict.
func TestMuteMachinesDoNotHoldTheBreaker(t *testing.T) {
	f := startFleet(t, simfleet.Options{Machines: 20, Seed: 4, Mix: &simfleet.Mix{Affected: .25, BlackHole: .75}})
	config := ways(t, f)["ntlm sealed over http"]
	config.ReceiveTimeout = 10 * patience // a verdict that hangs on a mute machine comes too late
	r, fix := mustRoute(t, config), channelFile(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	answered := make(chan bool, 20)
	done := make(chan struct{})
	go func() {
		defer close(done)
		fanOut(f.Machines(), 20, func(info simfleet.Info) {
			_, err := r.Do(ctx, targetOf(info), agent.Request{Run: "r1", Nonce: agent.Nonce(), Mode: agent.Detect, Playbook: fix})
			if info.Kind == simfleet.Affected {
				answered <- err == nil
			}
		})
	}()
	for range 5 {
		if !<-answered {
			t.Error("a healthy machine was kept waiting")
		}
	}
	cancel()
	<-done
	settled(t, f)
}

func TestIdentifyASimulatedMachine(t *testing.T) {
	f := startFleet(t, simfleet.Options{Machines: 1, Seed: 4})
	got, err := winrm.Identify(t.Context(), winrm.IdentifyConfig{}, f.Machines()[0].Address)
	if err != nil || got.Vendor == "" || !slices.Contains(got.Auth, "Negotiate") {
		t.Errorf("%+v, %v", got, err)
	}
	settled(t, f)
}

// The sealed requests on the wire hold neither the password nor the playbook.
func TestNothingInTheClearOverHTTP(t *testing.T) {
	f := startFleet(t, simfleet.Options{Machines: 1, Seed: 4, Mix: &simfleet.Mix{Affected: 1}})
	config := ways(t, f)["ntlm sealed over http"]
	wire := &recorder{}
	config.Dial = wire.dial
	r := mustRoute(t, config)
	if _, err := r.Do(t.Context(), targetOf(f.Machines()[0]), agent.Request{Run: "planted-run", Nonce: agent.Nonce(), Mode: agent.Detect, Playbook: channelFile(t)}); err != nil {
		t.Fatal(err)
	}
	_, _, password := f.Account()
	for _, text := range []string{password.Reveal(), "Envelope", "powershell", "planted-run", "rsp:Stream", "@@fm"} {
		if bytes.Contains(wire.bytes(), []byte(text)) {
			t.Errorf("%q is on the wire", text)
		}
	}
	if !strings.Contains(string(wire.bytes()), "multipart/encrypted") {
		t.Error("nothing was recorded")
	}
}

// fanOut calls do for every machine, at most width at a time.
func fanOut(machines []simfleet.Info, width int, do func(simfleet.Info)) {
	jobs := make(chan simfleet.Info)
	var group sync.WaitGroup
	for range min(width, len(machines)) {
		group.Go(func() {
			for info := range jobs {
				do(info)
			}
		})
	}
	for _, info := range machines {
		jobs <- info
	}
	close(jobs)
	group.Wait()
}
