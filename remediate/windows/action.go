package windows

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// act does one action and notes what it changed, also when it fails in the middle.
func (r *run) act(a playbook.Action) error {
	done := agent.StepDone{}
	err := r.do(a, &done)
	done.Changed = r.changedIn(r.step)
	r.steps = append(r.steps, done)
	return err
}

func (r *run) do(a playbook.Action, done *agent.StepDone) error {
	switch {
	case a.Quarantine != nil:
		done.Action, done.Target = "quarantine", a.Quarantine.File
		return r.quarantine(*a.Quarantine)
	case a.Put != nil:
		done.Action, done.Target = "put", a.Put.File
		return r.put(*a.Put)
	case a.Registry != nil:
		done.Action, done.Target = "registry", a.Registry.Key+" "+a.Registry.Name
		return r.changeRegistry(*a.Registry)
	case a.Service != nil:
		done.Action, done.Target = "service", a.Service.Name
		return r.changeStart(*a.Service, "service")
	case a.Driver != nil:
		done.Action, done.Target = "driver", a.Driver.Name
		return r.changeStart(*a.Driver, "driver")
	case a.BCD != nil:
		done.Action, done.Target = "bcd", a.BCD.Delete+a.BCD.Set
		return r.changeBCD(*a.BCD)
	case a.Script != nil:
		done.Action, done.Target = "script", a.Script.Shell
		note, err := r.runScript(*a.Script)
		done.Note = note
		return err
	}
	done.Action = "unknown"
	return errors.New("unknown action")
}

func (r *run) quarantine(q playbook.Quarantine) error {
	files, err := r.find(q.File, q.FileTest)
	if err != nil {
		return err
	}
	for _, f := range files {
		sum, err := r.sum(f.place)
		if err != nil {
			return err
		}
		kept := fmt.Sprintf("kept-%04d", r.records)
		if err := r.record(undoRecord{Action: "quarantine", Target: f.path, Path: f.path, Kept: kept, SHA256: sum}); err != nil {
			return err
		}
		if err := r.Files.Move(f.place, join(r.folder, kept)); err != nil {
			return fmt.Errorf("quarantine: %w", err)
		}
	}
	return nil
}

func (r *run) put(p playbook.Put) error {
	words, place, err := r.paths(p.File)
	if err != nil {
		return err
	}
	if strings.ContainsAny(p.File, "*?") {
		return fmt.Errorf("no wildcards here: '%s'", p.File)
	}
	content, err := hex.DecodeString(p.Hex)
	if err != nil {
		return fmt.Errorf("content of '%s' is no hex", p.File)
	}
	want := strings.ToUpper(p.SHA256)
	u := undoRecord{Action: "put", Target: words, Path: words, NewSHA256: want}
	there, err := r.exists(place)
	if err != nil {
		return err
	}
	if there {
		if u.SHA256, err = r.sum(place); err != nil {
			return err
		}
		if u.SHA256 == want {
			return nil
		}
		u.Kept = fmt.Sprintf("kept-%04d", r.records)
	}
	if sumOf(content) != want {
		return fmt.Errorf("content of '%s' does not have the hash it should", p.File)
	}
	aside := join(r.folder, fmt.Sprintf("put-%04d", r.records))
	if err := r.record(u); err != nil {
		return err
	}
	// Written aside first: what is in the way is moved only when its successor is whole and on the same volume.
	if err := r.Files.Create(aside, content); err != nil {
		return fmt.Errorf("put %s: %w", words, err)
	}
	if u.Kept != "" {
		if err := r.Files.Move(place, join(r.folder, u.Kept)); err != nil {
			return fmt.Errorf("put %s: %w", words, err)
		}
	}
	if err := r.Files.Move(aside, place); err != nil {
		return fmt.Errorf("put %s: %w", words, err)
	}
	return nil
}

func (r *run) changeRegistry(c playbook.RegistryChange) error {
	if err := r.needRegistry(); err != nil {
		return err
	}
	if c.Delete {
		return r.toValue(c.Key, c.Name, nil)
	}
	d, err := newData(c.Type, c.Value)
	if err != nil {
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
	if err := r.toValue(key, "Start", &data{"dword", []string{fmt.Sprintf("=%d", number)}}); err != nil {
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
		u.Old = &data{"bcd", guard([]string{*now})}
	}
	if c.Delete == "" {
		u.New = &data{"bcd", guard([]string{c.Value})}
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

func (r *run) runScript(s playbook.Script) (note string, err error) {
	u := undoRecord{Action: "script", Target: "script", Shell: s.Shell, Undo: s.Undo, Args: guard(s.Args), Timeout: s.Timeout}
	if err := r.record(u); err != nil {
		return "", err
	}
	output, exit, err := r.script(s.Shell, s.Body, s.Args, s.Timeout)
	note = bound(output)
	if err != nil {
		return note, err
	}
	ok := s.OK
	if len(ok) == 0 {
		ok = []int{0}
	}
	if !slices.Contains(ok, exit) {
		return note, fmt.Errorf("script ended with %d: %s", exit, note)
	}
	return note, nil
}
