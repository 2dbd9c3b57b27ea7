package windows

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

var registryKeyKind = stepKind{
	name:   "registry-key",
	target: func(a playbook.Action) string { return a.RegistryKey.Key },
	ahead:  func(r *run, _ playbook.Action) error { return r.needRegistry() },
	act:    func(r *run, a playbook.Action, _ *agent.StepDone) error { return r.makeKeys(a.RegistryKey.Key) },
}

// Made by a playbook, with nothing in it: see makeKeys.
var madeKeyChange = changeKind{name: "made-key", undo: func(r *run, _ int, u undoRecord) (bool, error) { return r.removeMade(u.Key) }}

var registryKeyTest = testKind{
	name:  "registry-key",
	words: func(c playbook.Condition) string { return "registry-key " + c.RegistryKey },
	holds: func(r *run, c playbook.Condition) (bool, error) {
		if err := r.needRegistry(); err != nil {
			return false, err
		}
		there, err := r.Registry.HasKey(c.RegistryKey)
		return there == (c.Present == nil || *c.Present), err
	},
}

// makeKeys makes a key with those above it that are not there, each on its record. One that is there is never touched.
func (r *run) makeKeys(key string) error {
	if err := r.needRegistry(); err != nil {
		return err
	}
	var missing []string
	for at := key; ; at = at[:strings.LastIndexByte(at, '\\')] {
		there, err := r.Registry.HasKey(at)
		if err != nil {
			return fmt.Errorf("look for %s: %w", at, err)
		}
		if there {
			break
		}
		if strings.Count(at, `\`) < 2 {
			return fmt.Errorf("no key %s", at)
		}
		missing = append([]string{at}, missing...)
	}
	keys, ok := r.Registry.(Keys)
	if !ok && len(missing) > 0 {
		return errors.New("registry keys cannot be made here")
	}
	for _, one := range missing {
		if err := r.record(undoRecord{Action: "made-key", Target: one, Key: one}); err != nil {
			return err
		}
		if err := keys.MakeKey(one); err != nil {
			return fmt.Errorf("make key %s: %w", one, err)
		}
	}
	return nil
}

// removeMade takes a key out that was made, unless somebody uses it.
func (r *run) removeMade(key string) (bool, error) {
	there, err := r.Registry.HasKey(key)
	if err != nil || !there {
		return false, err
	}
	keys, ok := r.Registry.(Keys)
	if !ok {
		return false, errors.New("registry keys cannot be removed here")
	}
	values, below, err := keys.Inside(key)
	if err != nil {
		return false, fmt.Errorf("look into %s: %w", key, err)
	}
	if values > 0 || len(below) > 0 {
		r.remarks = append(r.remarks, key+" stays: somebody has put more into it")
		return false, nil
	}
	if err := keys.RemoveKey(key); err != nil {
		return false, fmt.Errorf("remove key %s: %w", key, err)
	}
	return true, nil
}
