package windows

import (
	"errors"
	"fmt"
	"slices"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// stepKind is one row of the table of actions: what the machine does for one kind of step. A kind is a file kind_NAME.go
// here, a row in the table of agent.ps1 and one in the table of the language (playbook.ActionKinds).
type stepKind struct {
	name   string
	target func(a playbook.Action) string
	// ahead says what of a step cannot be done here, before anything is changed; nil where only the doing tells.
	ahead func(r *run, a playbook.Action) error
	act   func(r *run, a playbook.Action, done *agent.StepDone) error
}

var stepKinds = []stepKind{quarantineKind, putKind, registryKind, registryKeyKind, serviceKind, driverKind, bcdKind, scriptKind}

// testKind is one row of the table of conditions.
type testKind struct {
	name  string
	words func(c playbook.Condition) string // what a message calls it
	holds func(r *run, c playbook.Condition) (bool, error)
}

var testKinds = []testKind{fileTest, noFileTest, registryTest, registryKeyTest, serviceTest, driverTest, bcdTest, osTest, scriptTest}

// changeKind is one row of the table of records: how a change is taken back. It reports whether it changed something;
// false where the change was never done or is undone already.
type changeKind struct {
	name string
	undo func(r *run, number int, u undoRecord) (bool, error)
	back func(r *run, u undoRecord) (bool, error) // whether it is still taken back; nil where nothing tells
}

var changeKinds = []changeKind{quarantineChange, putChange, registryChange, keyChange, madeKeyChange, stopChange, bcdChange, scriptChange}

// do does one action by the row of its kind.
func (r *run) do(a playbook.Action, done *agent.StepDone) error {
	kind := a.Kind()
	for _, row := range stepKinds {
		if row.name == kind {
			done.Action, done.Target = kind, row.target(a)
			return row.act(r, a, done)
		}
	}
	done.Action = "unknown"
	return errors.New("unknown action")
}

// ahead refuses a fix of which any step cannot be done here, whatever stands before it.
func (r *run) ahead(actions []playbook.Action) error {
	for _, a := range actions {
		kind := a.Kind()
		at := slices.IndexFunc(stepKinds, func(row stepKind) bool { return row.name == kind })
		if at < 0 {
			return errors.New("unknown action")
		}
		if look := stepKinds[at].ahead; look != nil {
			if err := look(r, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// holds looks at one condition by the row of its kind.
func (r *run) holds(c playbook.Condition) (ok bool, words string, err error) {
	kind := c.Kind()
	for _, row := range testKinds {
		if row.name == kind {
			ok, err = row.holds(r, c)
			return ok, row.words(c), err
		}
	}
	return false, "", errors.New("unknown condition")
}

// takeBack undoes one change by the row of its kind.
func (r *run) takeBack(number int, u undoRecord) (bool, error) {
	for _, row := range changeKinds {
		if row.name == u.Action {
			return row.undo(r, number, u)
		}
	}
	return false, fmt.Errorf("unknown record '%s'", u.Action)
}

// act does one action and notes what it changed, also when it fails in the middle.
func (r *run) act(a playbook.Action) error {
	done := agent.StepDone{}
	err := r.do(a, &done)
	done.Changed = r.changedIn(r.step)
	r.steps = append(r.steps, done)
	return err
}

// letBe notes that an optional action failed, and reports whether the fix goes on: not where it was stopped.
func (r *run) letBe(a playbook.Action, err error) bool {
	if !a.Optional || r.ctx.Err() != nil {
		return false
	}
	done := &r.steps[len(r.steps)-1]
	done.Failed, done.Note = true, bound(err.Error())
	r.remarks = append(r.remarks, "an optional step failed: "+done.Action+" "+done.Target+": "+err.Error())
	return true
}

// all reports whether every condition holds, and else which one does not.
func (r *run) all(conditions []playbook.Condition) (ok bool, words string, err error) {
	for _, c := range conditions {
		if err := r.ctx.Err(); err != nil {
			return false, "", fmt.Errorf("stopped: %w", err)
		}
		ok, words, err := r.holds(c)
		if err != nil || !ok {
			return false, words, err
		}
	}
	return true, "", nil
}

// isBack looks whether what was taken back is still so, by the row of its kind.
func (r *run) isBack(u undoRecord) (bool, error) {
	for _, row := range changeKinds {
		if row.name == u.Action && row.back != nil {
			return row.back(r, u)
		}
	}
	return true, nil
}
