package simfleet_test

import (
	"os"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/pwsh"
	"github.com/fleetmend/fleetmend/internal/simfleet"
	"github.com/fleetmend/fleetmend/remediate/agent"
)

// TestTheRealAgentFixesOnceAndUndoes is the same as with the Go interpreter, by the agent itself under a real PowerShell:
// one machine in Full and one in Constrained Language Mode.
func TestTheRealAgentFixesOnceAndUndoes(t *testing.T) {
	path := pwsh.Find(t)
	seeds := []uint64{1, 2}
	if os.Getenv("FLEETMEND_LONG") == "" {
		seeds = seeds[:1]
	}
	for _, seed := range seeds {
		o := open(1, simfleet.Mix{Affected: 1})
		o.Seed, o.PowerShell = seed, path
		fixedOnceAndUndone(t, o)
	}
}

func TestTheRealAgentFailsOnAFileInUse(t *testing.T) {
	o := open(1, simfleet.Mix{Broken: 1})
	o.PowerShell = pwsh.Find(t)
	f := start(t, o)
	name := first(f)
	r, err := basic(t, f, name, "http").ask("r-1", agent.Fix)
	if err != nil || r.Outcome != agent.Failed || !strings.Contains(r.Message, "used by another process") || r.PS == "go" {
		t.Errorf("%+v, %v", r, err)
	}
	if s := look(t, f, name); s.Changes != 0 || !s.Crashes {
		t.Errorf("changed %d times, crashes: %v", s.Changes, s.Crashes)
	}
}

// TestTheRealBootstrapRefusesCutInput cuts the envelope at several places: nothing may run.
func TestTheRealBootstrapRefusesCutInput(t *testing.T) {
	if os.Getenv("FLEETMEND_LONG") == "" {
		t.Skip("long: set FLEETMEND_LONG=1")
	}
	o := open(1, simfleet.Mix{Affected: 1})
	o.PowerShell = pwsh.Find(t)
	f := start(t, o)
	name := first(f)
	stdin, err := agent.Encode(agent.Request{Run: "r-1", Nonce: "n-1", Mode: agent.Fix})
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		stdin []byte
		exit  string
	}{
		"nothing": {nil, "90"}, "half a line": {stdin[:20], "90"}, "half the agent": {stdin[:len(stdin)/2], "91"},
		"all but the end": {stdin[:len(stdin)-5], "91"}, "another text": {[]byte("whoami\nwhoami\nwhoami\n"), "90"},
	} {
		client := basic(t, f, name, "http")
		shell := client.create()
		command := client.command(shell, agent.CommandLine(), false)
		if status, reply := client.input(shell, command, c.stdin, true); status != 200 {
			t.Fatalf("%s: send: %d %s", what, status, reply)
		}
		_, reply, err := client.whole(shell, command)
		if err != nil {
			t.Fatal(err)
		}
		if exit := between(reply, "<rsp:ExitCode>", "<"); exit != c.exit {
			t.Errorf("%s: exit code %q, not %s", what, exit, c.exit)
		}
	}
	if s := look(t, f, name); s.Changes != 0 {
		t.Errorf("changed %d times", s.Changes)
	}
}
