package winrm_test

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fleetmend/fleetmend/internal/leaktest"
	"github.com/fleetmend/fleetmend/internal/pwsh"
	"github.com/fleetmend/fleetmend/internal/simfleet"
	"github.com/fleetmend/fleetmend/internal/simfleet/machine"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/route/winrm"
)

// TestTheAgentStays fixes a simulated machine and asks it on; what it has kept is taken away between two questions.
func TestTheAgentStays(t *testing.T) {
	t.Run("go", func(t *testing.T) { theAgentStays(t, "") })
	t.Run("powershell", func(t *testing.T) {
		if os.Getenv("FLEETMEND_LONG") == "" {
			t.Skip("starts a PowerShell nine times: set FLEETMEND_LONG=1")
		}
		theAgentStays(t, pwsh.Find(t))
	})
}

func theAgentStays(t *testing.T, powershell string) {
	leaktest.Check(t)
	f := startFleet(t, simfleet.Options{Machines: 1, Seed: 4, Mix: &simfleet.Mix{Affected: 1}, PowerShell: powershell})
	config := ways(t, f)["ntlm sealed over http"]
	config.ReceiveTimeout = patience
	r, target, fix := mustRoute(t, config), targetOf(f.Machines()[0]), channelFile(t)
	file := `C:\ProgramData\fleetmend\agent\` + agent.Digest() + ".ps1"
	kept := func() bool {
		s, err := f.Machine(target.Name)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(s.Files, func(file simfleetFile) bool {
			return strings.HasSuffix(file.Path, agent.Digest()+".ps1") && strings.EqualFold(file.SHA256, agent.Digest())
		})
	}
	ask := func(mode agent.Mode, outcome string, shells int64) {
		t.Helper()
		before := f.Stats().ConnectionsEver
		result, err := r.Do(t.Context(), target, agent.Request{Run: "r1", Nonce: agent.Nonce(), Mode: mode, Playbook: fix})
		if err != nil || result.Outcome != outcome || result.Note != "" {
			t.Errorf("%s: %+v, %v", mode, result, err)
		}
		if used := f.Stats().ConnectionsEver - before; used != shells {
			t.Errorf("%s: %d connections, not %d", mode, used, shells)
		}
	}
	ask(agent.Detect, agent.Affected, 1)
	if kept() {
		t.Error("a look left the agent behind")
	}
	ask(agent.Fix, agent.Fixed, 1)
	if !kept() {
		t.Error("the agent was not kept")
	}
	ask(agent.Verify, agent.Fixed, 1)
	if out, err := r.Run(t.Context(), target, "del "+file, nil); err != nil || out.ExitCode != 0 || kept() {
		t.Fatalf("%+v, %v", out, err)
	}
	ask(agent.Verify, agent.Fixed, 2) // asked for the whole in the same round
	if !kept() {
		t.Error("the agent was not kept again")
	}
	ask(agent.Undo, agent.Undone, 1)
	// A route that has never asked this machine sends the whole, and one that is told what the machine said names it.
	for _, told := range []bool{false, true} {
		other, _ := counting(t, config)
		result, err := other.Do(t.Context(), target, agent.Request{Run: "r1", Nonce: agent.Nonce(), Mode: agent.Detect, Playbook: fix, Kept: told})
		if err != nil || result.Outcome != agent.Affected || result.Kept != agent.Digest() {
			t.Errorf("told %v: %+v, %v", told, result, err)
		}
	}
}

// TestWhatNamingCosts holds a round to its budget: what the route itself sends and gets, in the form in which it travels. Of three
// machines the cheapest counts: one that is slow to answer, on a computer with other work, is asked for its output once more.
func TestWhatNamingCosts(t *testing.T) {
	leaktest.Check(t)
	f := startFleet(t, simfleet.Options{Machines: 3, Seed: 4, Mix: &simfleet.Mix{Affected: 1}})
	least := map[agent.Mode]int64{}
	for _, m := range f.Machines() {
		r, bytes := counting(t, ways(t, f)["ntlm sealed over http"])
		for _, mode := range []agent.Mode{agent.Fix, agent.Verify, agent.Verify} {
			before := bytes.Load()
			if _, err := r.Do(t.Context(), targetOf(m), agent.Request{Run: "r1", Nonce: agent.Nonce(), Mode: mode, Playbook: channelFile(t)}); err != nil {
				t.Fatal(err)
			}
			used := bytes.Load() - before
			t.Logf("%s: %d bytes on the wire", mode, used)
			if was, ok := least[mode]; !ok || used < was {
				least[mode] = used
			}
		}
	}
	if fixed := least[agent.Fix] + least[agent.Verify]; fixed > 110_000 {
		t.Errorf("%d bytes for a fixed machine: keep it below 110,000", fixed)
	}
	if least[agent.Verify] > 25_000 {
		t.Errorf("%d bytes for a round in which the agent is named", least[agent.Verify])
	}
}

// A machine that asks for the agent gets it once, in the same round; what else it may say then is no reason to send it again.
func TestAMachineThatAsksForTheAgent(t *testing.T) {
	leaktest.Check(t)
	host := newHost(t)
	host.keeps = true
	host.agent = func(q agent.Request) agent.Result {
		return agent.Result{Run: q.Run, Outcome: agent.Clean, Kept: agent.Digest()}
	}
	host.startTLS()
	r := basicRoute(t, host, nil)
	target := route.Target{ID: "1", Name: "WS1", Address: host.address()}
	do := func() (agent.Result, error) {
		return r.Do(t.Context(), target, agent.Request{Run: "r1", Nonce: agent.Nonce(), Mode: agent.Detect})
	}
	lines := func() (named, whole int) {
		host.mu.Lock()
		defer host.mu.Unlock()
		for _, body := range host.bodies {
			if m := commandOf.FindStringSubmatch(body); m != nil {
				switch m[1] {
				case agent.CommandLine():
					whole++
				case agent.KeptCommandLine():
					named++
				default:
					t.Errorf("another command: %.100s", m[1])
				}
			}
		}
		host.bodies = nil
		return named, whole
	}
	expect := func(what string, wantNamed, wantWhole int) {
		t.Helper()
		if _, err := do(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if named, whole := lines(); named != wantNamed || whole != wantWhole {
			t.Errorf("%s: named %d times, sent %d times", what, named, whole)
		}
	}
	expect("first", 0, 1)
	expect("second", 1, 0)
	host.keeps = false
	expect("it is gone", 1, 1)
	host.agent = func(q agent.Request) agent.Result {
		return agent.Result{Run: q.Run, Outcome: agent.Clean, Note: "not kept"}
	}
	expect("it cannot be kept", 1, 1)
	expect("after that", 0, 1)
	host.stdout, host.exit = func([]byte) []byte { return []byte(agent.Send(agent.Digest()) + "\r\n") }, 92
	_, err := do()
	if named, whole := lines(); route.ClassOf(err) != route.Unknown || named != 0 || whole != 1 {
		t.Errorf("%v, named %d times, sent %d times", err, named, whole)
	}
	host.allClosed()
}

// Machines whose PowerShell is too old say so before they read the agent, which they could not read.
func TestAnOldPowerShellIsRefusedInWords(t *testing.T) {
	leaktest.Check(t)
	for said, want := range map[string]string{
		"fleetmend: PowerShell 2.0 is too old\r\n": "the machine has PowerShell 2.0, so nothing was done", "": "the machine has an older PowerShell, so nothing was done",
	} {
		host := newHost(t)
		host.stdout, host.exit = func([]byte) []byte { return []byte(said) }, 93
		host.startTLS()
		_, err := basicRoute(t, host, nil).Do(context.Background(), route.Target{ID: "1", Name: "WS1", Address: host.address()},
			agent.Request{Run: "r1", Nonce: agent.Nonce(), Mode: agent.Detect})
		var e *route.Error
		if !errors.As(err, &e) || e.Class != route.Refused || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", said, err)
		}
	}
}

type simfleetFile = machine.File

// counting is a route that counts the bytes of its connections, both ways.
func counting(t testing.TB, config winrm.Config) (*winrm.Route, *atomic.Int64) {
	t.Helper()
	var bytes atomic.Int64
	config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &tallied{conn, &bytes}, nil
	}
	return mustRoute(t, config), &bytes
}

type tallied struct {
	net.Conn
	bytes *atomic.Int64
}

func (c *tallied) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}

func (c *tallied) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}
