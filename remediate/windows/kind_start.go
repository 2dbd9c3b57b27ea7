package windows

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// Services and drivers: both are keys below Services, with a start type.

var serviceKind = stepKind{
	name:   "service",
	target: func(a playbook.Action) string { return a.Service.Name },
	act: func(r *run, a playbook.Action, _ *agent.StepDone) error {
		return r.changeStart(*a.Service, "service")
	},
}

var driverKind = stepKind{
	name:   "driver",
	target: func(a playbook.Action) string { return a.Driver.Name },
	act: func(r *run, a playbook.Action, _ *agent.StepDone) error {
		return r.changeStart(*a.Driver, "driver")
	},
}

// Services are started when all start types are back: see undo.
var stopChange = changeKind{"stop", func(r *run, _ int, u undoRecord) (bool, error) { return r.startAgain(u.Name) }}

var serviceTest = testKind{
	name:  "service",
	words: func(c playbook.Condition) string { return "service " + c.Service },
	holds: func(r *run, c playbook.Condition) (bool, error) { return r.serviceHolds(c.Service, c, true) },
}

var driverTest = testKind{
	name:  "driver",
	words: func(c playbook.Condition) string { return "driver " + c.Driver },
	holds: func(r *run, c playbook.Condition) (bool, error) { return r.serviceHolds(c.Driver, c, false) },
}

func (r *run) changeStart(c playbook.StartChange, what string) error {
	number, err := startNumber(c.Start)
	if err != nil {
		return err
	}
	if err := r.needRegistry(); err != nil {
		return err
	}
	key := servicesKey + `\` + c.Name
	there, err := r.Registry.HasKey(key)
	if err != nil {
		return fmt.Errorf("look for %s %q: %w", what, c.Name, err)
	}
	if !there {
		return fmt.Errorf("no %s '%s'", what, c.Name)
	}
	if err := r.toValue(key, "Start", &data{Type: "dword", Data: []string{fmt.Sprintf("=%d", number)}}); err != nil {
		return err
	}
	if !c.Stop || what != "service" || r.Services == nil { // nothing runs on an offline installation
		return nil
	}
	running, ok, err := r.Services.Running(c.Name)
	if err != nil || !ok || !running {
		return err
	}
	if err := r.record(undoRecord{Action: "stop", Target: c.Name + " stopped", Name: c.Name}); err != nil {
		return err
	}
	if err := r.Services.Stop(r.ctx, c.Name); err != nil {
		return fmt.Errorf("stop service %q: %w", c.Name, err)
	}
	return nil
}

func (r *run) startAgain(name string) (bool, error) {
	if r.Services == nil {
		return false, nil
	}
	running, ok, err := r.Services.Running(name)
	if err != nil || !ok || running {
		return false, err
	}
	if err := r.Services.Start(r.ctx, name); err != nil {
		return false, fmt.Errorf("start service %q: %w", name, err)
	}
	return true, nil
}

func (r *run) serviceHolds(name string, c playbook.Condition, service bool) (bool, error) {
	key := servicesKey + `\` + name
	if err := r.needRegistry(); err != nil {
		return false, err
	}
	there, err := r.Registry.HasKey(key)
	if err != nil {
		return false, fmt.Errorf("look for service %q: %w", name, err)
	}
	if c.Present != nil && *c.Present != there {
		return false, nil
	}
	if !there {
		return c.Present != nil && c.Start == "" && c.State == "", nil
	}
	if c.Start != "" {
		number, err := startNumber(c.Start)
		if err != nil {
			return false, err
		}
		now, err := r.value(key, "Start")
		if err != nil || now == nil || len(now.Data) == 0 || now.Data[0] != "="+strconv.Itoa(number) {
			return false, err
		}
	}
	switch {
	case c.State == "":
		return true, nil
	case !service:
		return false, errors.New("a driver has no state")
	case c.State != "running" && c.State != "stopped":
		return false, fmt.Errorf("unknown state '%s'", c.State)
	}
	if err := r.needServices(); err != nil {
		return false, err
	}
	running, ok, err := r.Services.Running(name)
	return ok && running == (c.State == "running"), err
}

func startNumber(start playbook.StartType) (int, error) {
	for n, s := range []playbook.StartType{playbook.StartBoot, playbook.StartSystem, playbook.StartAuto, playbook.StartManual, playbook.StartDisabled} {
		if s == start {
			return n, nil
		}
	}
	return 0, fmt.Errorf("unknown start type '%s'", start)
}
