package windows

import (
	"context"

	"github.com/fleetmend/fleetmend/remediate/agent"
)

// LiveRegistry is a registry with its keys.
type LiveRegistry interface {
	Registry
	Keys
}

// RehearseOn is [Rehearse] with another registry in the place of memory's: what the case says is written into it, and what is there
// after each step is held against the case, types and all.
func RehearseOn(ctx context.Context, c Case, registry LiveRegistry) (problems []string, answers []agent.Result) {
	return rehearse(ctx, c, &liveRegistry{registry, map[string][]string{}})
}

type liveRegistry struct {
	LiveRegistry
	names map[string][]string // that were written, by key
}

// write makes the registry what the machine in memory has.
func (l *liveRegistry) write(t reporter, m *Memory) {
	for _, key := range m.Keys() {
		if err := l.MakeKey(key); err != nil {
			t.Errorf("make %s: %v", key, err)
		}
		values, _ := m.Values(key)
		for _, name := range l.names[key] {
			if _, stays := values[name]; stays {
				continue
			}
			if err := l.Delete(key, name); err != nil {
				t.Errorf("delete %s %s: %v", key, name, err)
			}
		}
		l.names[key] = nil
		for name, v := range values {
			if err := l.Set(key, name, v); err != nil {
				t.Errorf("set %s %s: %v", key, name, err)
			}
			l.names[key] = append(l.names[key], name)
		}
	}
}

// read takes into memory what the registry has: of the values that were written, and of those that the playbook names.
func (l *liveRegistry) read(t reporter, m *Memory, c Case) {
	for _, a := range c.Playbook.Fix {
		if a.RegistryKey == nil {
			continue
		}
		there, err := l.HasKey(a.RegistryKey.Key)
		if err == nil && there {
			err = m.MakeKey(a.RegistryKey.Key)
		} else if err == nil {
			err = m.RemoveKey(a.RegistryKey.Key)
		}
		if err != nil {
			t.Errorf("%s: %v", a.RegistryKey.Key, err)
		}
	}
	for _, key := range m.Keys() {
		names := l.names[key]
		for _, a := range c.Playbook.Fix {
			if a.Registry != nil && fold(a.Registry.Key) == key {
				names = append(names, a.Registry.Name)
			}
		}
		seen := map[string]bool{}
		for _, name := range names {
			if seen[fold(name)] {
				continue
			}
			seen[fold(name)] = true
			v, ok, err := l.Get(key, name)
			switch {
			case err != nil:
				t.Errorf("get %s %s: %v", key, name, err)
			case ok:
				m.SetValue(key, name, v)
				l.names[key] = append(l.names[key], name)
			default:
				_ = m.Delete(key, name) // memory's never fails
			}
		}
	}
}
