package windows

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// States of a service in Windows' own words (System.ServiceProcess.ServiceControllerStatus).
const (
	StateStopped         = "Stopped"
	StateStartPending    = "StartPending"
	StateStopPending     = "StopPending"
	StateRunning         = "Running"
	StateContinuePending = "ContinuePending"
	StatePausePending    = "PausePending"
	StatePaused          = "Paused"
)

// SetServiceState gives a service's state on this machine, with the service; its start type is a registry value like any
// other.
func (m *Memory) SetServiceState(name, state string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setServiceState(name, state)
}

func (m *Memory) setServiceState(name, state string) {
	if m.over.services == nil {
		m.over.services = map[string]string{}
	}
	m.over.services[fold(name)] = state
}

// ServiceState returns the state of a service; ok is false where there is no such service.
func (m *Memory) ServiceState(name string) (state string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.serviceState(name)
}

func (m *Memory) serviceState(name string) (state string, ok bool) {
	if state, ok = m.over.services[fold(name)]; ok {
		return state, true
	}
	state, ok = m.base.services[fold(name)]
	return state, ok
}

// State implements [Services].
func (m *Memory) State(name string) (state string, ok bool, err error) {
	state, ok = m.ServiceState(name)
	return state, ok, nil
}

// Dependents implements [Services].
func (m *Memory) Dependents(name string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.dependents(name)
	slices.Reverse(all)
	return all, nil
}

// SetStart implements [Services].
func (m *Memory) SetStart(name string, number int) error {
	if _, ok := m.ServiceState(name); !ok {
		return fmt.Errorf("configure service %q: %w", name, fs.ErrNotExist)
	}
	if err := m.Set(servicesKey+`\`+name, "Start", Value{"dword", uint64(number)}); err != nil { //nolint:gosec // 2 to 4
		return err
	}
	m.SetControllerStart(name, uint64(number)) //nolint:gosec // 2 to 4
	return nil
}

// dependents returns what depends on a service, and what depends on that.
func (m *Memory) dependents(name string) (all []string) {
	for base, names := range m.Below {
		if !strings.EqualFold(base, name) {
			continue
		}
		for _, one := range names {
			all = append(append(all, one), m.dependents(one)...)
		}
	}
	return all
}

// Stop implements [Services]: with what depends on it, as Stop-Service -Force. A service that is about to change its state
// takes no order; one that never stops keeps the caller until ctx ends.
func (m *Memory) Stop(ctx context.Context, name string) error {
	m.mu.Lock()
	state, ok := m.serviceState(name)
	switch {
	case !ok:
		m.mu.Unlock()
		return fmt.Errorf("stop service %q: %w", name, fs.ErrNotExist)
	case strings.HasSuffix(state, "Pending"):
		m.mu.Unlock()
		return fmt.Errorf("stop service %q: it is %s and takes no control", name, state)
	}
	for _, one := range m.dependents(name) {
		m.setServiceState(one, StateStopped)
	}
	if state != StateStopped && strings.EqualFold(m.NeverStops, name) {
		m.setServiceState(name, StateStopPending)
		m.mu.Unlock()
		<-ctx.Done()
		return fmt.Errorf("stop service %q: %w", name, ctx.Err())
	}
	m.setServiceState(name, StateStopped)
	m.mu.Unlock()
	return nil
}

// Start implements [Services]. A service that the controller knows as disabled does not start.
func (m *Memory) Start(ctx context.Context, name string) error {
	if strings.EqualFold(m.NeverStarts, name) {
		m.SetServiceState(name, StateStartPending)
		<-ctx.Done()
		return ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.serviceState(name); !ok {
		return fmt.Errorf("start service %q: %w", name, fs.ErrNotExist)
	}
	if m.controllerStart(name) == 4 {
		return fmt.Errorf("start service %q: 1058, it is disabled", name)
	}
	m.setServiceState(name, StateRunning)
	return nil
}

// controllerStart is the start type that the service controller knows: the registry's at the last start of the machine,
// or what it was told since.
func (m *Memory) controllerStart(name string) uint64 {
	if number, ok := m.over.start[fold(name)]; ok {
		return number
	}
	v, _ := m.value(servicesKey+`\`+name, "Start")
	number, _ := v.Data.(uint64)
	return number
}

// SetControllerStart says what the service controller knows of a service's start type.
func (m *Memory) SetControllerStart(name string, number uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setControllerStart(name, number)
}

func (m *Memory) setControllerStart(name string, number uint64) {
	if m.over.start == nil {
		m.over.start = map[string]uint64{}
	}
	m.over.start[fold(name)] = number
}

// ControllerStart returns what the service controller knows of a service's start type.
func (m *Memory) ControllerStart(name string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.controllerStart(name)
}

// ReadStarts lets the service controller read the registry, as it does when the machine starts.
func (m *Memory) ReadStarts() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.readStarts()
}

func (m *Memory) readStarts() {
	m.over.start = map[string]uint64{}
	for _, key := range m.keys() {
		name, below := strings.CutPrefix(key, fold(servicesKey)+`\`)
		if v, ok := m.value(key, "Start"); ok && below && !strings.Contains(name, `\`) {
			if number, isNumber := v.Data.(uint64); isNumber {
				m.setControllerStart(name, number)
			}
		}
	}
}
