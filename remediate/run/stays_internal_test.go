package run

import (
	"testing"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// What stays on a machine is what was done there: not a step that it never came to, and every one where nobody knows.
func TestOnlyWhatWasDoneStays(t *testing.T) {
	firmware := playbook.RegistryChange{Key: `HKLM\SYSTEM\CurrentControlSet\Control\SecureBoot`, Name: "AvailableUpdates", Value: "0x5944"}
	p := &playbook.Playbook{Fix: []playbook.Action{
		{Service: &playbook.StartChange{Name: "x"}}, {Registry: &firmware}, {Script: &playbook.Script{Shell: "cmd", Body: "exit 0"}},
	}}
	if len(p.Permanent()) != 2 {
		t.Fatal(p.Permanent())
	}
	for _, test := range []struct {
		steps *agent.Result
		want  int
	}{
		{nil, 2}, {&agent.Result{Clipped: true}, 2},
		{&agent.Result{Steps: []agent.StepDone{{Changed: 1}}}, 0},     // it ended before both
		{&agent.Result{Steps: []agent.StepDone{{Changed: 1}, {}}}, 0}, // the value was so already
		{&agent.Result{Steps: []agent.StepDone{{Changed: 1}, {Changed: 1}}}, 1},
		{&agent.Result{Steps: []agent.StepDone{{Changed: 1}, {Failed: true}}}, 1}, // and may have been done all the same
		{&agent.Result{Steps: []agent.StepDone{{Changed: 1}, {}, {}}}, 1},         // what a script did nobody knows
		{&agent.Result{Steps: []agent.StepDone{{Changed: 1}, {Changed: 1}, {Changed: 1}}}, 2},
	} {
		if got := stays(p, test.steps); len(got) != test.want {
			t.Errorf("%+v: %v", test.steps, got)
		}
	}
}
