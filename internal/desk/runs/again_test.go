package runs_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/settings"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// TestWhatIsProposedAgainGoesByTheSameRules freezes plans of random requests and asks again for what they hold: the rules, waves,
// restarts and the forced lint are the same, under the settings of the day.
func TestWhatIsProposedAgainGoesByTheSameRules(t *testing.T) {
	source, err := playbook.Builtin("crowdstrike-channel-file-291")
	if err != nil {
		t.Fatal(err)
	}
	var entries []plan.Entry
	for i := range 40 {
		name := fmt.Sprintf("WS%d", i)
		entries = append(entries, plan.Entry{Target: route.Target{ID: name, Name: name, Address: name}, Route: "winrm"})
	}
	rng := rand.New(rand.NewPCG(12, 29))
	pick := func(texts ...string) string { return texts[rng.IntN(len(texts))] }
	count := func() *int {
		if rng.IntN(2) == 0 {
			return nil
		}
		n := 1 + rng.IntN(3)
		return &n
	}
	lasts := func() *time.Duration {
		if rng.IntN(2) == 0 {
			return nil
		}
		d := time.Duration(1+rng.IntN(3)) * time.Minute
		return &d
	}
	said := 0
	for range 500 {
		d, err := desk.New(desk.Options{Settings: settings.Settings{Run: settings.Run{Waves: pick("", "2, 50%, 100%"), MaxFail: pick("", "3", "none"), Forks: count(), Soak: lasts(), Timeout: lasts()}}})
		if err != nil {
			t.Fatal(err)
		}
		asked := runs.Request{Playbook: source.Playbook.Name, Reboot: pick("", "never", "always"), DryRun: rng.IntN(2) == 0, Exclude: pick("", "WS1*"), On: `site == "LON"`,
			Rules: runs.Rules{Waves: pick("", "1,100%", "5,10%,100%", "100%"), MaxFail: pick("", "0", "7", "2.5%", "none"), MaxUnreachable: pick("", "20%", "none"),
				Forks: count(), PerSite: count(), PerSubnet: count(), Retries: count(), Soak: lasts(), Backoff: lasts(),
				MachineTimeout: lasts(), RebootWait: lasts(), RunTimeout: lasts(), Approval: rng.IntN(2) == 0, Chase: rng.IntN(2) == 0}}
		freeze := func(r runs.Request) *plan.Plan {
			t.Helper()
			bound, err := source.Bind(r.Set)
			if err != nil {
				t.Fatal(err)
			}
			if r.Reboot != "" {
				bound.Reboot = playbook.Reboot(r.Reboot)
			}
			p, err := runs.Plan(t.Context(), d, r, entries, nil, plan.Source{Playbook: bound, Digest: source.Digest, Parameters: r.Set})
			if err != nil {
				t.Fatalf("%q: %v", r.Args(), err)
			}
			return p
		}
		first := freeze(asked)
		again := runs.Again(first, d.Settings.Run)
		second := freeze(again)
		if !reflect.DeepEqual(first.Options, second.Options) || first.Playbook.Reboot != second.Playbook.Reboot || !reflect.DeepEqual(first.Waves, second.Waves) ||
			first.Selector != second.Selector || first.Exclude != second.Exclude || first.Mode != second.Mode {
			t.Fatalf("asked %q\nagain %q", asked.Args(), again.Args())
		}
		said += len(again.Args())
		if silent := runs.Again(freeze(runs.Request{Playbook: source.Playbook.Name}), d.Settings.Run); len(silent.Args()) != 2 {
			t.Fatalf("nothing was said, and %q is", silent.Args())
		}
	}
	if said == 0 {
		t.Error("no rule was said again")
	}
}

// What was piped in is gone when the next command is typed: the machines are named.
func TestWhatWasPipedInIsNamed(t *testing.T) {
	p := &plan.Plan{Selector: "-", Waves: []plan.Wave{{Name: "1", Entries: []plan.Entry{{Target: route.Target{Name: "WS1"}}}}, {Name: "100%", Entries: []plan.Entry{{Target: route.Target{Name: "WS2"}}}}},
		Playbook: playbook.Playbook{Name: "disable-service"}, Skipped: []plan.Skip{{Name: "WS3", Reason: "excluded by --exclude"}, {Name: "WS4", Reason: "gone"}}}
	if got := runs.Again(p, settings.Run{}); got.On != "WS1,WS2" || got.Exclude != "" {
		t.Errorf("%q %q", got.On, got.Exclude)
	}
	p.Selector, p.Exclude = "all", "-"
	if got := runs.Again(p, settings.Run{}); got.On != "all" || got.Exclude != "WS3" {
		t.Errorf("%q %q", got.On, got.Exclude)
	}
}

// A number of sign-ins that was given to resume a run holds for that life alone: whatever is proposed after it needs it again.
func TestSignInsAreCarriedOn(t *testing.T) {
	given := func(flag string) []string {
		if flag == "sign-ins" || flag == "max-fail" {
			return []string{"--" + flag, "3"}
		}
		return nil
	}
	onto := map[string][]string{}
	for _, c := range runs.Carried("fleetmend runs resume", given) {
		onto[c.Words[0]] = c.Onto
	}
	if !slices.Equal(onto["--sign-ins"], []string{"runs resume", "runs retry", "runs undo"}) || !slices.Equal(onto["--max-fail"], []string{"runs resume"}) {
		t.Errorf("%v", onto)
	}
	if got := runs.Carried("fleetmend run", given); len(got) > 0 { // it stands in the plan
		t.Errorf("%v", got)
	}
}
