package windows

import (
	"fmt"
	"strconv"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

var registryKind = stepKind{
	name:   "registry",
	target: func(a playbook.Action) string { return a.Registry.Key + " " + a.Registry.Name },
	ahead: func(r *run, a playbook.Action) error {
		if err := r.needRegistry(); err != nil || a.Registry.Delete {
			return err
		}
		_, err := newData(a.Registry.Type, a.Registry.Value)
		return err
	},
	act: func(r *run, a playbook.Action, _ *agent.StepDone) error { return r.changeRegistry(*a.Registry) },
}

var registryChange = changeKind{
	name: "registry",
	undo: func(r *run, _ int, u undoRecord) (bool, error) { return r.restoreValue(u) },
	back: func(r *run, u undoRecord) (bool, error) {
		now, err := r.value(u.Key, u.Name)
		return now.equal(u.Old), err
	},
}

var registryTest = testKind{
	name:  "registry",
	words: func(c playbook.Condition) string { return "registry " + c.Registry + " " + c.Name },
	holds: (*run).registryHolds,
}

func (r *run) changeRegistry(c playbook.RegistryChange) error {
	if err := r.needRegistry(); err != nil {
		return err
	}
	if c.Delete {
		if err := r.notVitalStart(c, 4); err != nil { // without one nothing starts
			return err
		}
		return r.toValue(c.Key, c.Name, nil)
	}
	d, err := newData(c.Type, c.Value)
	if err != nil {
		return err
	}
	number := 4 // what is no number starts nothing
	if d.Type == "dword" {
		number, _ = strconv.Atoi(d.Data[0][1:])
	}
	if err := r.notVitalStart(c, number); err != nil {
		return err
	}
	there, err := r.Registry.HasKey(c.Key)
	if err != nil {
		return fmt.Errorf("look for %s: %w", c.Key, err)
	}
	if !there {
		return fmt.Errorf("no key %s", c.Key)
	}
	return r.toValue(c.Key, c.Name, d)
}

var serviceKey = lazyregexp.New(`(?i)^HKEY_LOCAL_MACHINE\\SYSTEM\\(?:CurrentControlSet|ControlSet[0-9]{3})\\Services\\([^\\]+)$`)

// notVitalStart: a start type may be set as a plain value as well, and what this Windows starts from is not touched there either.
func (r *run) notVitalStart(c playbook.RegistryChange, number int) error {
	found := serviceKey.FindStringSubmatch(c.Key)
	if found == nil || fold(c.Name) != "START" {
		return nil
	}
	return r.notVital(found[1], c.Key, number)
}

// toValue brings a value to what it should be (nil: absent) and records what it was.
func (r *run) toValue(key, name string, want *data) error {
	old, err := r.value(key, name)
	if err != nil || old.equal(want) {
		return err
	}
	u := undoRecord{Action: "registry", Target: key + " " + name, Key: key, Name: name, Old: old, New: want}
	if err := r.record(u); err != nil {
		return err
	}
	return r.setValue(key, name, want)
}

func (r *run) restoreValue(u undoRecord) (bool, error) {
	now, err := r.value(u.Key, u.Name)
	if err != nil || now.equal(u.Old) {
		return false, err
	}
	if !now.equal(u.New) {
		return false, fmt.Errorf("will not overwrite %s %s: it was changed since", u.Key, u.Name)
	}
	if _, name := splitPath(u.Key); u.Service && u.Old != nil {
		err = r.setStart(name, u.Key, u.Old, true)
	} else {
		err = r.setValue(u.Key, u.Name, u.Old)
	}
	if err != nil {
		return false, err
	}
	if now, err = r.value(u.Key, u.Name); err != nil || !now.equal(u.Old) {
		return false, cmpErr(err, fmt.Errorf("%s %s is not as it was after it was set back", u.Key, u.Name))
	}
	return true, nil
}

func (r *run) registryHolds(c playbook.Condition) (bool, error) {
	now, err := r.value(c.Registry, c.Name)
	if err != nil {
		return false, err
	}
	if c.Equals != nil {
		return now != nil && equals(now, c.Equals), nil
	}
	return (now != nil) == (c.Present == nil || *c.Present), nil
}

// equals compares a value with what a playbook says; the kinds must fit.
func equals(now *data, want any) bool {
	kind, texts, ok := wanted(want)
	if !ok {
		return false
	}
	if len(now.Data) == 0 && now.Type != "multi-string" {
		return false // its bytes do not make a value
	}
	switch now.Type {
	case "dword", "qword":
		return kind == "number" && now.Data[0][1:] == texts[0]
	case "multi-string":
		if kind != "list" || len(texts) != len(now.Data) {
			return false
		}
		for i, text := range texts {
			if fold(now.Data[i][1:]) != fold(text) {
				return false
			}
		}
		return true
	default:
		return kind == "text" && fold(now.Data[0][1:]) == fold(texts[0])
	}
}
