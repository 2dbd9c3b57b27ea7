package windows

import (
	"strings"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

var bcdKind = stepKind{
	name:   "bcd",
	target: func(a playbook.Action) string { return a.BCD.Delete + a.BCD.Set },
	act:    func(r *run, a playbook.Action, _ *agent.StepDone) error { return r.changeBCD(*a.BCD) },
}

var bcdChange = changeKind{"bcd", func(r *run, _ int, u undoRecord) (bool, error) { return r.restoreBCD(u) }}

var bcdTest = testKind{
	name:  "bcd",
	words: func(c playbook.Condition) string { return "bcd " + c.BCD },
	holds: (*run).bcdHolds,
}

func (r *run) changeBCD(c playbook.BCDChange) error {
	name := c.Delete + c.Set
	now, err := r.bcd(name)
	if err != nil {
		return err
	}
	if c.Delete != "" && now == nil || c.Delete == "" && now != nil && fold(*now) == fold(c.Value) {
		return nil
	}
	u := undoRecord{Action: "bcd", Target: name, Name: name}
	if now != nil {
		u.Old = &data{Type: "bcd", Data: guard([]string{*now})}
	}
	if c.Delete == "" {
		u.New = &data{Type: "bcd", Data: guard([]string{c.Value})}
	}
	if err := r.record(u); err != nil {
		return err
	}
	if c.Delete != "" {
		_, err = r.mustTool("bcdedit.exe", "/deletevalue", "{default}", name)
	} else {
		_, err = r.mustTool("bcdedit.exe", "/set", "{default}", name, c.Value)
	}
	return err
}

// restoreBCD sets an element back. What the fix deleted is simply set again; what it set is looked at first.
func (r *run) restoreBCD(u undoRecord) (bool, error) {
	if u.New != nil {
		now, err := r.bcd(u.Name)
		if err != nil {
			return false, err
		}
		if now == nil && u.Old == nil || now != nil && u.Old != nil && fold(*now) == fold(unguard(u.Old.Data)[0]) {
			return false, nil
		}
	}
	if u.Old == nil {
		_, err := r.mustTool("bcdedit.exe", "/deletevalue", "{default}", u.Name)
		return err == nil, err
	}
	_, err := r.mustTool("bcdedit.exe", "/set", "{default}", u.Name, unguard(u.Old.Data)[0])
	return err == nil, err
}

func (r *run) bcdHolds(c playbook.Condition) (bool, error) {
	now, err := r.bcd(c.BCD)
	if err != nil {
		return false, err
	}
	if c.Equals != nil {
		_, texts, ok := wanted(c.Equals)
		return ok && now != nil && len(texts) == 1 && fold(*now) == fold(texts[0]), nil
	}
	return (now != nil) == (c.Present == nil || *c.Present), nil
}

// bcd reads an element of the boot entry {default}: nil where it is not set.
func (r *run) bcd(name string) (*string, error) {
	output, err := r.mustTool("bcdedit.exe", "/enum", "{default}", "/v")
	if err != nil {
		return nil, err
	}
	for _, line := range output {
		head, rest, ok := strings.Cut(line, " ")
		if value := strings.TrimSpace(rest); ok && fold(head) == fold(name) && value != "" {
			return &value, nil
		}
	}
	return nil, nil
}
