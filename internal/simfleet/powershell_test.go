package simfleet_test

import (
	"os"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/pwsh"
	"github.com/fleetmend/fleetmend/internal/simfleet"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
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

// TestTheRealAgentRefusesWhatCannotBeDone: by its width, by a policy, and because cmd.exe could not read it, with a step ahead that could.
func TestTheRealAgentRefusesWhatCannotBeDone(t *testing.T) {
	if os.Getenv("FLEETMEND_LONG") == "" {
		t.Skip("long: set FLEETMEND_LONG=1")
	}
	fix := func(shell, body string) playbook.Playbook {
		return playbook.Playbook{Name: "x", Fix: []playbook.Action{
			{Put: &playbook.Put{File: `C:\Data\a.txt`, Hex: "61", SHA256: "CA978112CA1BBDCAFAC231B39A23DC4DA786EFF8147C4E72B9807785AFEE48BB"}},
			{Script: &playbook.Script{Shell: shell, Body: body}},
		}}
	}
	for kind, c := range map[simfleet.Kind]struct {
		playbook playbook.Playbook
		says     string
	}{
		simfleet.Narrow:     {fix("powershell", "exit 0"), "32-bit PowerShell on a 64-bit Windows"},
		simfleet.SignedOnly: {fix("powershell", "exit 0"), "the execution policy is AllSigned"},
		simfleet.Affected:   {fix("cmd", "echo gr\u00fcn"), "a cmd script can hold ASCII letters only"},
	} {
		o := open(1, simfleet.Mix{})
		o.Exactly, o.PowerShell = map[simfleet.Kind]int{kind: 1}, pwsh.Find(t)
		f := start(t, o)
		name := first(f)
		r, err := basic(t, f, name, "http").askOf("r-1", agent.Fix, c.playbook)
		if err != nil || r.Outcome != agent.Failed || !strings.Contains(r.Message, c.says) || r.Changed != 0 || r.PS == "go" {
			t.Errorf("%s: %+v, %v", kind, r, err)
		}
		if s := look(t, f, name); s.Changes != 0 {
			t.Errorf("%s: changed %d times", kind, s.Changes)
		}
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
