package pe

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/media/practice"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/windows"
)

// memoryHive is a registry file whose keys are in memory.
type memoryHive struct {
	*windows.Memory
	open    bool
	refuses error // to close
}

func (h *memoryHive) Close() error {
	if !h.open {
		return errors.New("closed twice")
	}
	h.open = false
	return h.refuses
}

func newHive(values map[string]map[string]windows.Value) *memoryHive {
	base := windows.NewBase(0)
	h := &memoryHive{Memory: windows.NewMemory(base)}
	for key, list := range values {
		root, _, _ := strings.Cut(key, `\`)
		base.AddKey(root)
		for name, v := range list {
			h.SetValue(key, name, v)
		}
	}
	return h
}

func dword(n uint64) windows.Value { return windows.Value{Type: "dword", Data: n} }

// LoadHive gives the file of this name, if the machine has it and nobody else has it open.
func (s *fakeSystem) LoadHive(file string) (Hive, error) {
	s.loads = append(s.loads, filepath.Base(file))
	h, ok := s.hives[filepath.Base(file)]
	switch {
	case !ok:
		return nil, errors.New("the file is in use")
	case h.open:
		return nil, errors.New("loaded twice")
	}
	if _, err := os.Stat(file); err != nil {
		return nil, err
	}
	h.open = true
	return h, nil
}

const driverKey = `ControlSet002\Services\csagent`

func systemHiveOf() *memoryHive {
	return newHive(map[string]map[string]windows.Value{
		"Select":                         {"Current": dword(2), "Default": dword(1)},
		`ControlSet001\Services\csagent`: {"Start": dword(1)},
		driverKey:                        {"Start": dword(1)},
	})
}

func (h *memoryHive) start(t *testing.T, key string) uint64 {
	t.Helper()
	v, ok, err := h.Get(key, "Start")
	if err != nil || !ok {
		t.Fatalf("%s: %v, %v", key, ok, err)
	}
	n, _ := v.Data.(uint64)
	return n
}

func TestRunDisablesDriverInTheControlSetInUse(t *testing.T) {
	p := newPlace(t, auto(), bound(t, "disable-driver", map[string]string{"driver": "csagent"}))
	h := systemHiveOf()
	p.system.hives = map[string]*memoryHive{"SYSTEM": h}
	r, words, err := p.run(t, "")
	if err != nil || r.Outcome != agent.Fixed || r.Playbooks[0].Result.Changed != 1 {
		t.Fatalf("%+v, %v\n%s", r, err, words)
	}
	if got := h.start(t, driverKey); got != 4 {
		t.Errorf("start type %d", got)
	}
	if got := h.start(t, `ControlSet001\Services\csagent`); got != 1 {
		t.Errorf("another control set was changed: start type %d", got)
	}
	if h.open || !slices.Equal(p.system.loads, []string{"SYSTEM"}) {
		t.Errorf("left loaded: %v, loaded %v", h.open, p.system.loads)
	}
	// The record names the key as the running Windows will, so that undo finds it.
	record, err := filepath.Glob(filepath.Join(p.disk, "ProgramData", "fleetmend", "runs", "*", "undo-0000.json"))
	if err != nil || len(record) != 1 {
		t.Fatal(record, err)
	}
	if text, err := os.ReadFile(record[0]); err != nil || !strings.Contains(string(text), `SYSTEM\\CurrentControlSet\\Services\\csagent`) || !strings.Contains(string(text), `"=1"`) {
		t.Errorf("%s, %v", text, err)
	}
}

func TestRegistryFilesAreUnloadedWhateverHappens(t *testing.T) {
	service := bound(t, "disable-service", map[string]string{"service": "csagent", "stop": "true"})
	wrong, state := service, service
	wrong.Verify = []playbook.Condition{{Service: "csagent", Start: playbook.StartAuto}}
	state.Verify = []playbook.Condition{{Service: "csagent", State: "stopped"}}
	for name, c := range map[string]struct {
		book    playbook.Playbook
		hives   map[string]*memoryHive
		outcome string
		says    string
		start   uint64
	}{
		"nothing to stop": {service, map[string]*memoryHive{"SYSTEM": systemHiveOf()}, agent.Fixed, "", 4},
		"state":           {state, map[string]*memoryHive{"SYSTEM": systemHiveOf()}, agent.Failed, "not possible on an offline installation: service state", 4},
		"verify fails":    {wrong, map[string]*memoryHive{"SYSTEM": systemHiveOf()}, agent.Failed, "verify does not hold", 4},
		"in use":          {service, nil, agent.Failed, "load the registry file SYSTEM: the file is in use", 0},
		"no control set":  {service, map[string]*memoryHive{"SYSTEM": newHive(nil)}, agent.Failed, "find the control set", 0},
		"control set is not there": {service, map[string]*memoryHive{"SYSTEM": newHive(map[string]map[string]windows.Value{"Select": {"Current": dword(7)}})},
			agent.Failed, "no key ControlSet007", 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, auto(), c.book)
			p.system.hives = c.hives
			r, words, err := p.run(t, "")
			if err != nil || r.Outcome != c.outcome || !strings.Contains(r.Message, c.says) {
				t.Errorf("%+v, %v\n%s", r, err, words)
			}
			for file, h := range c.hives {
				if h.open {
					t.Errorf("%s is still loaded", file)
				}
				if c.start != 0 && h.start(t, driverKey) != c.start {
					t.Errorf("start type %d", h.start(t, driverKey))
				}
			}
		})
	}
}

func TestRegistryThatDoesNotUnloadIsSaid(t *testing.T) {
	p := newPlace(t, auto(), bound(t, "disable-driver", map[string]string{"driver": "csagent"}))
	h := systemHiveOf()
	h.refuses = errors.New("a key is open")
	p.system.hives = map[string]*memoryHive{"SYSTEM": h}
	r, words, err := p.run(t, "")
	if err != nil || r.Outcome != agent.Fixed || !strings.Contains(words, "unload the registry file SYSTEM: a key is open") {
		t.Errorf("%+v, %v\n%s", r, err, words)
	}
	if got := r.Playbooks[0].Result.Message; !strings.Contains(got, "a key is open") {
		t.Errorf("the result says %q", got)
	}
}

func TestRegistryPlaces(t *testing.T) {
	p := newPlace(t, auto())
	put(t, filepath.Join(p.disk, "WINDOWS", "System32", "config", "SOFTWARE"), string(practice.SystemHive("x")))
	software := newHive(map[string]map[string]windows.Value{`Microsoft\Windows`: {"x": dword(5)}})
	p.system.hives = map[string]*memoryHive{"SYSTEM": systemHiveOf(), "SOFTWARE": software}
	w, note := openWindows(p.disk)
	if w == nil {
		t.Fatal(note)
	}
	defer w.close()
	r := &registry{windows: w, system: p.system}
	for key, want := range map[string]bool{
		`HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet`:                   true,
		`hkey_local_machine\system\currentcontrolset\services\CSAGENT`:  true,
		`HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSetOther`:              false,
		`HKEY_LOCAL_MACHINE\SYSTEM\ControlSet001\Services\csagent`:      true,
		`HKEY_LOCAL_MACHINE\SYSTEM\ControlSet001\Services\csagent\None`: false,
		`HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows`:                 true,
	} {
		if got, err := r.HasKey(key); got != want || err != nil {
			t.Errorf("%s: %v, %v", key, got, err)
		}
	}
	for _, key := range []string{`HKEY_LOCAL_MACHINE\HARDWARE\DESCRIPTION`, `HKEY_CURRENT_USER\Software`} {
		if _, err := r.HasKey(key); err == nil {
			t.Errorf("%s was found", key)
		}
	}
	const key = `HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows`
	if err := errors.Join(r.Set(key, "y", dword(6)), r.Delete(key, "x")); err != nil {
		t.Error(err)
	}
	if values, _ := software.Values(`Microsoft\Windows`); len(values) != 1 || values["y"] != dword(6) && values["Y"] != dword(6) {
		t.Errorf("%v", values)
	}
	if err := r.close(); err != nil || software.open || p.system.hives["SYSTEM"].open {
		t.Errorf("left loaded (%v)", err)
	}
}

// slowSystem loads a registry file when it is let.
type slowSystem struct {
	*fakeSystem
	let chan struct{}
}

func (s *slowSystem) LoadHive(file string) (Hive, error) {
	<-s.let
	return s.fakeSystem.LoadHive(file)
}

// TestAHiveThatDoesNotLoad: Windows may take for ever over a damaged registry file. It is not waited for longer than it may be, nor twice,
// and one that is loaded after all is given back.
func TestAHiveThatDoesNotLoad(t *testing.T) {
	p := newPlace(t, auto())
	w, note := openWindows(p.disk)
	if w == nil {
		t.Fatal(note)
	}
	defer w.close()
	synctest.Test(t, func(t *testing.T) {
		h := systemHiveOf()
		p.system.hives = map[string]*memoryHive{"SYSTEM": h}
		slow := &slowSystem{p.system, make(chan struct{})}
		r := &registry{windows: w, system: slow}
		for range 2 {
			begun := time.Now()
			_, err := r.HasKey(`HKEY_LOCAL_MACHINE\SYSTEM\Select`)
			if err == nil || !strings.HasPrefix(err.Error(), "load the registry file SYSTEM: it did not load within two minutes, and nothing in it was read or changed") {
				t.Fatal(err)
			}
			if took := time.Since(begun); took > hivePatience {
				t.Errorf("waited for %s", took)
			}
		}
		close(slow.let)
		synctest.Wait()
		if len(p.system.loads) != 1 || h.open {
			t.Errorf("loaded %v, left open: %t", p.system.loads, h.open)
		}
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
}
