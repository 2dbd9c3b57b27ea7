package runscmd

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/terminal"
)

// read gives the request that the command line of words asks for.
func read(t *testing.T, words []string) runs.Request {
	t.Helper()
	var got runs.Request
	var p planFlags
	cmd := &cobra.Command{Use: "run", SilenceErrors: true, SilenceUsage: true, Args: cobra.MaximumNArgs(1)}
	p.add(command.NewContext(terminal.Streams{}, "test"), cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		got = p.asked(args)
		return nil
	}
	cmd.SetArgs(words)
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%q: %v", words, err)
	}
	return got
}

// An empty --on is the variable of a script that was never set: it is not the whole fleet, nor an empty --exclude nobody.
func TestAnEmptySelectorIsRefused(t *testing.T) {
	for _, flag := range []string{"--on", "--exclude"} {
		var p planFlags
		cmd := &cobra.Command{Use: "run", SilenceErrors: true, SilenceUsage: true, RunE: func(*cobra.Command, []string) error { return nil }}
		p.add(command.NewContext(terminal.Streams{}, "test"), cmd)
		cmd.SetArgs([]string{flag, " "})
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "an empty selector picks nothing") {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

// TestARequestIsItsCommandLine says random requests as command lines and reads them back.
func TestARequestIsItsCommandLine(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 7))
	texts := []string{"all", `site == "LON" && os.build < 22631`, "WS1,WS2", "@list.txt", "it's", "a=b", "x,y=z", `quo"te`, "-dash", "", "mit äöü"}
	text := func() string { return texts[rng.IntN(len(texts))] }
	maybe := func() bool { return rng.IntN(2) == 0 }
	count := func() *int {
		if maybe() {
			return nil
		}
		n := rng.IntN(3) // a 0 is said
		return &n
	}
	lasts := func() *time.Duration {
		if maybe() {
			return nil
		}
		d := time.Duration(rng.IntN(4)) * 90 * time.Second
		return &d
	}
	for range 2000 {
		r := runs.Request{On: text(), Exclude: text(), Reboot: text(), DryRun: maybe(), Force: maybe(), Rules: runs.Rules{
			Waves: text(), MaxFail: text(), MaxUnreachable: text(), MaxDenied: text(), Forks: count(), PerSite: count(), PerSubnet: count(), Retries: count(),
			Soak: lasts(), Backoff: lasts(), MachineTimeout: lasts(), RebootWait: lasts(), RunTimeout: lasts(), Approval: maybe(), Chase: maybe(),
		}}
		switch rng.IntN(3) {
		case 0:
			r.Playbook = "crowdstrike-channel-file-291"
		case 1:
			r.Script = "fix it.ps1"
		default:
			r.Command = "Get-Service | Where Status -eq 'Stopped'"
		}
		for _, name := range []string{"service", "path"} {
			if maybe() {
				if r.Set == nil {
					r.Set = map[string]string{}
				}
				r.Set[name] = text()
			}
		}
		if r.On == "" { // the flag's default
			r.On = "all"
		}
		got := read(t, r.Args()[1:])
		if !reflect.DeepEqual(got, r) {
			t.Fatalf("asked %+v\nread  %+v\nwords %q", r, got, r.Args())
		}
	}
}

// Nothing is well that another run kept from being done.
func TestMachinesThatAnotherRunHadAreNotDone(t *testing.T) {
	for want, r := range map[int]runs.Run{
		command.ExitOK:         {Machines: 5, Counts: map[runs.Outcome]int{runs.Fixed: 3, runs.Clean: 2, "skipped": 4}}, // four were left out of all waves
		command.ExitSomeFailed: {Machines: 5, Counts: map[runs.Outcome]int{runs.Fixed: 3, "skipped": 2}},
	} {
		if got := Code(&r, false); got != want {
			t.Errorf("%+v: %d, want %d", r, got, want)
		}
	}
}
