package windows

import (
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
	v, ok := m.value(key, name)
	return v, ok, nil
}

func (m *Memory) value(key, name string) (Value, bool) {
	if over, ok := m.over.registry[fold(key)][fold(name)]; ok {
		if over == nil {
			return Value{}, false
		}
		return over.value, true
	}
	v, ok := m.base.registry[fold(key)][fold(name)]
	return v.value, ok
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
	if v != nil { // a value keeps the name it was made with
		if old := m.over.registry[fold(key)][fold(name)]; old != nil {
			v.name = old.name
		} else if old, ok := m.base.registry[fold(key)][fold(name)]; ok {
			v.name = old.name
		}
	}
	m.over.registry[fold(key)][fold(name)] = v
}

// SetValue puts a value onto this machine, with its key: the outside world at work, not a repair.
func (m *Memory) SetValue(key, name string, value Value) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setValue(key, name, &memoryValue{name, value})
}

// MakeKey implements [Keys].
func (m *Memory) MakeKey(key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.hasKey(key) {
		m.setValue(key, "", nil)
	}
	return nil
}

// RemoveKey implements [Keys]. A key of the base stays.
func (m *Memory) RemoveKey(key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.keys() {
		if strings.HasPrefix(one, fold(key)+`\`) {
			return fmt.Errorf("remove key %q: it has keys below it", key)
		}
	}
	if _, ok := m.base.registry[fold(key)]; ok {
		return fmt.Errorf("remove key %q: it was there before", key)
	}
	delete(m.over.registry, fold(key))
	return nil
}

// Inside implements [Keys].
func (m *Memory) Inside(key string) (values int, below []string, err error) {
	all, there := m.Values(key)
	if !there {
		return 0, nil, fmt.Errorf("look into key %q: %w", key, fs.ErrNotExist)
	}
	for _, one := range m.Keys() {
		if name, ok := strings.CutPrefix(one, fold(key)+`\`); ok && !strings.Contains(name, `\`) {
			below = append(below, name)
		}
	}
	return len(all), below, nil
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
	return m.keys()
}

func (m *Memory) keys() []string {
	keys := slices.Collect(maps.Keys(m.base.registry))
	keys = slices.AppendSeq(keys, maps.Keys(m.over.registry))
	slices.Sort(keys)
	return slices.Compact(keys)
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
func (m *Memory) Variable(name string) string {
	text := OfflineVariable(name)
	if rest, ok := strings.CutPrefix(text, "C:"); ok && m.SystemDrive != "" {
		switch strings.ToLower(name) {
		case "systemdrive", "systemroot", "windir":
			return m.SystemDrive + rest
		}
	}
	return text
}
