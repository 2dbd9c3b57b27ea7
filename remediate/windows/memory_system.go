package windows

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
)

const (
	versionKey  = `HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion`
	servicesKey = `HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services`
)

// Get implements [Registry].
func (m *Memory) Get(key, name string) (Value, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if over, ok := m.over.registry[fold(key)][fold(name)]; ok {
		if over == nil {
			return Value{}, false, nil
		}
		return over.value, true, nil
	}
	v, ok := m.base.registry[fold(key)][fold(name)]
	return v.value, ok, nil
}

// HasKey implements [Registry].
func (m *Memory) HasKey(key string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hasKey(key), nil
}

func (m *Memory) hasKey(key string) bool {
	_, ok := m.base.registry[fold(key)]
	_, over := m.over.registry[fold(key)]
	return ok || over
}

// Set implements [Registry].
func (m *Memory) Set(key, name string, value Value) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.hasKey(key) {
		return fmt.Errorf("set value %q of %q: %w", name, key, fs.ErrNotExist)
	}
	m.setValue(key, name, &memoryValue{name, value})
	return nil
}

// Delete implements [Registry].
func (m *Memory) Delete(key, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.hasKey(key) {
		m.setValue(key, name, nil)
	}
	return nil
}

func (m *Memory) setValue(key, name string, v *memoryValue) {
	if m.over.registry == nil {
		m.over.registry = map[string]map[string]*memoryValue{}
	}
	if m.over.registry[fold(key)] == nil {
		m.over.registry[fold(key)] = map[string]*memoryValue{}
	}
	m.over.registry[fold(key)][fold(name)] = v
}

// SetValue puts a value onto this machine, with its key: the outside world at work, not a repair.
func (m *Memory) SetValue(key, name string, value Value) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setValue(key, name, &memoryValue{name, value})
}

// Values returns the values of a key by name, and whether the key exists.
func (m *Memory) Values(key string) (map[string]Value, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	values := map[string]Value{}
	for folded, v := range m.base.registry[fold(key)] {
		if _, hidden := m.over.registry[fold(key)][folded]; !hidden {
			values[v.name] = v.value
		}
	}
	for _, v := range m.over.registry[fold(key)] {
		if v != nil {
			values[v.name] = v.value
		}
	}
	return values, m.hasKey(key)
}

// Keys returns the registry keys of the machine in upper case, sorted.
func (m *Memory) Keys() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := slices.Collect(maps.Keys(m.base.registry))
	keys = slices.AppendSeq(keys, maps.Keys(m.over.registry))
	slices.Sort(keys)
	return slices.Compact(keys)
}

// SetService gives a service's state on this machine; its start type is a registry value like any other.
func (m *Memory) SetService(name string, running bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over.services == nil {
		m.over.services = map[string]bool{}
	}
	m.over.services[fold(name)] = running
}

// Running implements [Services].
func (m *Memory) Running(name string) (running, ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if running, ok = m.over.services[fold(name)]; ok {
		return running, true, nil
	}
	running, ok = m.base.services[fold(name)]
	return running, ok, nil
}

// Stop implements [Services].
func (m *Memory) Stop(_ context.Context, name string) error { return m.control("stop", name, false) }

// Start implements [Services]. A disabled service does not start.
func (m *Memory) Start(_ context.Context, name string) error {
	v, _, _ := m.Get(servicesKey+`\`+name, "Start")
	if v.Data == uint64(4) {
		return fmt.Errorf("start service %q: it is disabled", name)
	}
	return m.control("start", name, true)
}

func (m *Memory) control(verb, name string, running bool) error {
	if _, ok, _ := m.Running(name); !ok {
		return fmt.Errorf("%s service %q: %w", verb, name, fs.ErrNotExist)
	}
	m.SetService(name, running)
	return nil
}

// Build implements [System].
func (m *Memory) Build() (int, error) {
	v, _, _ := m.Get(versionKey, "CurrentBuildNumber")
	text, _ := v.Data.(string)
	return strconv.Atoi(text)
}

// Uptime implements [System].
func (m *Memory) Uptime() (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Booted.IsZero() {
		return -1, nil
	}
	return int64(m.now().Sub(m.Booted).Seconds()), nil
}

// Variable implements [System].
func (m *Memory) Variable(name string) string { return OfflineVariable(name) }

// SetBCD sets an element of the boot entry {default} on this machine: the outside world at work, not a repair. An empty
// value removes it.
func (m *Memory) SetBCD(name, value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setBCD(name, value)
}

func (m *Memory) setBCD(name, value string) {
	elements := slices.Clone(m.elements())
	at := slices.IndexFunc(elements, func(e bcdElement) bool { return strings.EqualFold(e.name, name) })
	switch {
	case value == "" && at >= 0:
		elements = slices.Delete(elements, at, at+1)
	case value == "":
	case at >= 0:
		elements[at].value = value
	default:
		elements = append(elements, bcdElement{name, value})
	}
	m.over.bcd = elements
}

func (m *Memory) elements() []bcdElement {
	if m.over.bcd != nil {
		return m.over.bcd
	}
	return m.base.bcd
}

// BCD returns the elements of the boot entry {default} by bcdedit's names.
func (m *Memory) BCD() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Collect(func(yield func(string, string) bool) {
		for _, e := range m.elements() {
			if !yield(e.name, e.value) {
				return
			}
		}
	})
}

// bcdedit answers what the agent asks bcdedit.exe, in its words.
func (m *Memory) bcdedit(args []string) (output []string, exit int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	const entry = "{default}"
	switch {
	case len(args) == 3 && args[0] == "/enum" && args[1] == entry && args[2] == "/v":
		output = []string{"", "Windows Boot Loader", "-------------------"}
		for _, e := range m.elements() {
			output = append(output, fmt.Sprintf("%-23s %s", e.name, e.value))
		}
		return output, 0
	case len(args) == 4 && args[0] == "/set" && args[1] == entry:
		m.setBCD(args[2], args[3])
		return []string{"The operation completed successfully."}, 0
	case len(args) == 3 && args[0] == "/deletevalue" && args[1] == entry:
		if !slices.ContainsFunc(m.elements(), func(e bcdElement) bool { return strings.EqualFold(e.name, args[2]) }) {
			return []string{"An error occurred while attempting to delete the specified data element.", "Element not found."}, 1
		}
		m.setBCD(args[2], "")
		return []string{"The operation completed successfully."}, 0
	}
	return []string{"The parameter is incorrect."}, 1
}

// shutdown schedules a restart: once, then shutdown.exe says 1190.
func (m *Memory) shutdown(args []string) (output []string, exit int) {
	if !slices.Contains(args, "/r") {
		return []string{"The parameter is incorrect.(87)"}, 87
	}
	m.mu.Lock()
	due := m.due
	m.due = true
	m.mu.Unlock()
	if due {
		return []string{"A system shutdown has already been scheduled.(1190)"}, 1190
	}
	if m.OnRestart != nil {
		m.OnRestart()
	}
	return nil, 0
}
