package runs_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

func TestAnOutcomeThatThereIsNotIsAMistake(t *testing.T) {
	d, err := desk.New(desk.Options{State: filepath.Join(t.TempDir(), "state")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	if _, err := runs.Machines(t.Context(), d, "none", []string{"failed", "fixd"}); !hint.IsMistake(err) || !slices.Contains(hint.Of(err), "did you mean fixed?") {
		t.Errorf("%v %q", err, hint.Of(err))
	}
	if _, err := runs.Machines(t.Context(), d, "none", []string{"fixed", "pending", "skipped", "rebooting"}); hint.IsMistake(err) {
		t.Error(err)
	}
}

func TestWhichEventsAreCalm(t *testing.T) {
	for _, c := range []struct {
		event journal.Event
		calm  bool
		text  string
	}{
		{journal.Event{Text: "wave 1 begins"}, false, "wave 1 begins"},
		{journal.Event{Machine: "WS1", State: journal.Running}, true, ""},
		{journal.Event{Machine: "WS1", Outcome: journal.Held, Text: "the run stopped"}, true, ""},
		{journal.Event{Machine: "WS1", Outcome: journal.Fixed}, true, "WS1            fixed"},
		{journal.Event{Machine: "WS1", Outcome: journal.Failed, Text: "no\nroom"}, false, "WS1            failed: no room"},
	} {
		if runs.Calm(c.event) != c.calm || runs.EventText(c.event) != c.text {
			t.Errorf("%+v: %v %q", c.event, runs.Calm(c.event), runs.EventText(c.event))
		}
	}
}

// Who is to agree to a plan hears that it will stop and wait, also where that was inherited from the run before.
func TestAPlanSaysThatItWaits(t *testing.T) {
	p := &plan.Plan{Playbook: playbook.Playbook{}, Mode: agent.Detect, Waves: make([]plan.Wave, 2), Options: plan.Options{Approval: true}}
	if text := runs.PlanText(p, 80); !strings.Contains(text, "approval: each wave after the first waits") {
		t.Error(text)
	}
	p.Waves = p.Waves[:1]
	if text := runs.PlanText(p, 80); strings.Contains(text, "approval") {
		t.Error(text)
	}
}
