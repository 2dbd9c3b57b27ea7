package windows

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// Services and drivers: both are keys below Services, with a start type.

var serviceKind = stepKind{
	name:   "service",
	target: func(a playbook.Action) string { return a.Service.Name },
	ahead:  func(r *run, a playbook.Action) error { return r.startFits(*a.Service, false) },
	act: func(r *run, a playbook.Action, _ *agent.StepDone) error {
		return r.changeStart(*a.Service, "service")
	},
}

var driverKind = stepKind{
	name:   "driver",
	target: func(a playbook.Action) string { return a.Driver.Name },
	ahead:  func(r *run, a playbook.Action) error { return r.startFits(*a.Driver, true) },
	act: func(r *run, a playbook.Action, _ *agent.StepDone) error {
		return r.changeStart(*a.Driver, "driver")
	},
}

// Services are started when all start types are back: see undo.
var stopChange = changeKind{name: "stop", undo: func(r *run, _ int, u undoRecord) (bool, error) { return r.startAgain(u.Name) }}

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

// startFits refuses a start type that cannot be set here.
func (r *run) startFits(c playbook.StartChange, driver bool) error {
	number, err := startNumber(c.Start)
	if err != nil {
		return err
	}
	if err := r.needRegistry(); err != nil || !driver {
		return err
	}
	return r.notVital(c.Name, servicesKey+`\`+c.Name, number)
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
	isService := what == "service"
	if !isService {
		if err := r.notVital(c.Name, key, number); err != nil {
			return err
		}
	}
	want := &data{Type: "dword", Data: []string{fmt.Sprintf("=%d", number)}}
	old, err := r.value(key, "Start")
	if err != nil {
		return err
	}
	if !old.equal(want) {
		u := undoRecord{Action: "registry", Target: key + " Start", Key: key, Name: "Start", Old: old, New: want, Service: isService}
		if err := r.record(u); err != nil {
			return err
		}
		if err := r.setStart(c.Name, key, want, isService); err != nil {
			return err
		}
	}
	if !c.Stop || !isService || r.Services == nil { // nothing runs on an offline installation
		return nil
	}
	names, err := r.running(c.Name)
	for _, name := range names {
		if err := r.record(undoRecord{Action: "stop", Target: name + " stopped", Name: name}); err != nil {
			return err
		}
		if err := r.stop(name); err != nil {
			return err
		}
	}
	return err
}

// startRecord (start.json) is written before a service's start type is changed, and removed after it: that takes more than
// one move. The controller reads the registry at its own start only, so a service is set through it, and what runs
// although it is disabled is let start for a moment. Whoever comes after a request that was ended in between brings the
// service to what it is to be in the end.
type startRecord struct {
	Name    string   `json:"name"`
	Wanted  *data    `json:"wanted"`
	Seen    []string `json:"seen"`              // start types on the way there
	Delayed *data    `json:"delayed,omitempty"` // what PowerShell 7 takes away along with the start type; nil: it was absent
}

const (
	startRecordName = "start.json"
	delayedStart    = "DelayedAutostart"
)

// setStart sets a start type. Offline, and for a driver, it is a value like others.
func (r *run) setStart(name, key string, d *data, isService bool) error {
	if !isService || r.Services == nil {
		return r.setValue(key, "Start", d)
	}
	if err := r.beginStart(name, key, d); err != nil {
		return err
	}
	if err := r.serviceStart(name, key, d); err != nil {
		return err
	}
	return r.endStart()
}

func (r *run) beginStart(name, key string, want *data, between ...string) error {
	if err := r.completeStart(); err != nil {
		return err
	}
	begun := startRecord{Name: name, Wanted: want, Seen: append(slices.Clone(want.Data), between...)}
	now, err := r.value(key, "Start")
	if err != nil {
		return err
	}
	if now != nil {
		begun.Seen = append(begun.Seen, now.Data...)
	}
	if begun.Delayed, err = r.value(key, delayedStart); err != nil {
		return err
	}
	return r.write(startRecordName, begun)
}

// serviceStart: one that is marked for deletion is refused by the controller, but its key is still there.
func (r *run) serviceStart(name, key string, d *data) error {
	if number, err := strconv.Atoi(strings.Join(unguard(d.Data), "")); r.Services != nil && err == nil && number >= 2 && number <= 4 {
		if _, ok, err := r.Services.State(name); err == nil && ok {
			_ = r.Services.SetStart(name, number)
		}
	}
	if now, err := r.value(key, "Start"); err != nil || now.equal(d) {
		return err
	}
	return r.setValue(key, "Start", d)
}

func (r *run) endStart() error {
	if err := r.Files.Remove(join(r.folder, startRecordName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove record %s: %w", startRecordName, err)
	}
	return nil
}

// completeStart ends what a request that was ended has begun; what somebody changed since stays as he made it.
func (r *run) completeStart() error {
	var begun startRecord
	if found, err := r.read(startRecordName, "wanted", &begun); err != nil || !found {
		return err
	}
	if err := r.needRegistry(); err != nil {
		return err
	}
	key := servicesKey + `\` + begun.Name
	now, err := r.value(key, "Start")
	if err != nil {
		return err
	}
	if now != nil && len(now.Data) == 1 && slices.Contains(begun.Seen, now.Data[0]) {
		if err := r.serviceStart(begun.Name, key, begun.Wanted); err != nil {
			return err
		}
		delayed, err := r.value(key, delayedStart)
		if err != nil {
			return err
		}
		if !delayed.equal(begun.Delayed) {
			if err := r.setValue(key, delayedStart, begun.Delayed); err != nil {
				return err
			}
		}
	}
	return r.endStart()
}

// running returns a service that is not stopped, after those that would stop with it.
func (r *run) running(name string) (names []string, err error) {
	dependents, err := r.Services.Dependents(name)
	if err != nil {
		return nil, fmt.Errorf("find what depends on service %q: %w", name, err)
	}
	state, ok, err := r.Services.State(name)
	if err != nil || !ok || state == StateStopped {
		return nil, err
	}
	for _, one := range append(dependents, name) {
		if state, ok, err := r.Services.State(one); err != nil {
			return nil, err
		} else if ok && state != StateStopped && !slices.Contains(names, one) {
			names = append(names, one)
		}
	}
	return names, nil
}

// stop stops a service within its time.
func (r *run) stop(name string) error {
	ctx, cancel := context.WithTimeout(r.ctx, r.Patience)
	defer cancel()
	err := r.Services.Stop(ctx, name)
	if state, _, look := r.Services.State(name); look == nil && errors.Is(err, context.DeadlineExceeded) && r.ctx.Err() == nil {
		return fmt.Errorf("service '%s' is %s, not Stopped, after half a minute", name, state)
	}
	if err != nil {
		return fmt.Errorf("stop service %q: %w", name, err)
	}
	return nil
}

// What the machine itself says of a driver that it cannot start without: its group, and the filter lists of the classes of
// disks and input.
var (
	vitalGroups  = []string{"SCSI MINIPORT", "SCSI CLASS", "PRIMARY DISK", "SYSTEM BUS EXTENDER", "BOOT BUS EXTENDER", "BOOT FILE SYSTEM"}
	vitalClasses = strings.Fields(`4d36e967-e325-11ce-bfc1-08002be10318 71a27cdd-812a-11d0-bec7-08002be2092f
		4d36e96b-e325-11ce-bfc1-08002be10318 4d36e96f-e325-11ce-bfc1-08002be10318 4d36e96a-e325-11ce-bfc1-08002be10318
		4d36e97b-e325-11ce-bfc1-08002be10318 4d36e97d-e325-11ce-bfc1-08002be10318 745a17a0-74d3-11d0-b6fe-00a0c90f57da
		36fc9e60-c465-11cf-8056-444553540000`)
)

func (r *run) notVital(name, key string, number int) error {
	if number < 2 {
		return nil
	}
	start, err := r.value(key, "Start")
	if err != nil {
		return err
	}
	group, err := r.value(key, "Group")
	if err != nil {
		return err
	}
	if start != nil && group != nil && slices.Equal(start.Data, []string{"=0"}) && len(group.Data) == 1 && slices.Contains(vitalGroups, fold(group.Data[0][1:])) {
		return fmt.Errorf("this Windows starts from driver '%s' (group %s): its start type is not changed", name, group.Data[0][1:])
	}
	if number != 4 {
		return nil
	}
	for _, class := range vitalClasses {
		for _, list := range []string{"UpperFilters", "LowerFilters"} {
			value, err := r.value(`HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Class\{`+class+`}`, list)
			if err != nil {
				return err
			}
			if value != nil && slices.ContainsFunc(value.Data, func(text string) bool { return fold(text[1:]) == fold(name) }) {
				return fmt.Errorf("driver '%s' stands in %s of the device class {%s}: without it those devices do not start; take it out of the list first", name, list, class)
			}
		}
	}
	return nil
}

// startAgain starts what the fix stopped. One that ran although it was disabled is let start for that moment.
func (r *run) startAgain(name string) (bool, error) {
	if r.Services == nil {
		return false, nil
	}
	state, _, err := r.Services.State(name)
	if err != nil || state != StateStopped {
		return false, err
	}
	key := servicesKey + `\` + name
	start, err := r.value(key, "Start")
	if err != nil {
		return false, err
	}
	off := start != nil && slices.Equal(start.Data, []string{"=4"})
	if off {
		manual := &data{Type: "dword", Data: []string{"=3"}}
		if err := r.beginStart(name, key, start, manual.Data...); err != nil {
			return false, err
		}
		if err := r.serviceStart(name, key, manual); err != nil {
			return false, err
		}
	}
	ctx, cancel := context.WithTimeout(r.ctx, r.Patience)
	defer cancel()
	err = r.Services.Start(ctx, name)
	if off {
		err = errors.Join(err, r.completeStart())
	}
	if state, _, look := r.Services.State(name); look == nil && errors.Is(err, context.DeadlineExceeded) && r.ctx.Err() == nil {
		return false, fmt.Errorf("service '%s' is %s, not Running, after half a minute", name, state)
	}
	if err != nil {
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
	state, ok, err := r.Services.State(name)
	return ok && state == map[string]string{"running": StateRunning, "stopped": StateStopped}[c.State], err
}

func startNumber(start playbook.StartType) (int, error) {
	for n, s := range []playbook.StartType{playbook.StartBoot, playbook.StartSystem, playbook.StartAuto, playbook.StartManual, playbook.StartDisabled} {
		if s == start {
			return n, nil
		}
	}
	return 0, fmt.Errorf("unknown start type '%s'", start)
}
