package machine

import (
	"cmp"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/fleetmend/fleetmend/remediate/windows"
)

// hive is the registry of a machine; it implements windows.Registry. What all machines have in common lies in a base
// that is never changed; a machine's own keys and values lie over it.
type hive struct {
	base map[string]*key // shared, read only

	mu      sync.Mutex
	keys    map[string]*key // by full name in lower case
	changes int64
}

type key struct {
	name   string
	values map[string]value // by name in lower case
}

type value struct {
	name string
	windows.Value
	gone bool // deleted here, whatever the base says
}

func newHive(base map[string]*key) *hive { return &hive{base: base, keys: map[string]*key{}} }

// find returns a value as it is now; the lock is held.
func (h *hive) find(folded, name string) (value, bool) {
	for _, keys := range []map[string]*key{h.keys, h.base} {
		if k, ok := keys[folded]; ok {
			if v, ok := k.values[strings.ToLower(name)]; ok {
				return v, !v.gone
			}
		}
	}
	return value{}, false
}

// own returns the machine's own layer of a key, or nil where there is no such key; the lock is held.
func (h *hive) own(folded string) *key {
	if k, ok := h.keys[folded]; ok {
		return k
	}
	common, ok := h.base[folded]
	if !ok {
		return nil
	}
	k := &key{name: common.name, values: map[string]value{}}
	h.keys[folded] = k
	return k
}

// each calls do for every key of both layers; a key may come twice. The lock is held.
func (h *hive) each(do func(folded string, k *key)) {
	for _, keys := range []map[string]*key{h.keys, h.base} {
		for folded, k := range keys {
			do(folded, k)
		}
	}
}

var rootNames = map[string]string{"hklm": "hkey_local_machine", "hkcu": "hkey_current_user", "hkcr": "hkey_classes_root", "hku": "hkey_users"}

// foldKey brings a key to one form: the long root, ControlSet001 for the current set, lower case.
func foldKey(name string) string {
	name = fold(strings.TrimPrefix(fold(name), `registry::`))
	root, rest, _ := strings.Cut(name, `\`)
	if long, ok := rootNames[strings.TrimSuffix(root, ":")]; ok {
		name = long + `\` + rest
	}
	return strings.Replace(name, `hkey_local_machine\system\controlset001`, `hkey_local_machine\system\currentcontrolset`, 1)
}

// put places a value while the machine is made.
func (h *hive) put(keyName, name, kind string, data any) {
	k, ok := h.keys[foldKey(keyName)]
	if !ok {
		k = &key{name: keyName, values: map[string]value{}}
		h.keys[foldKey(keyName)] = k
	}
	if kind != "" {
		k.values[strings.ToLower(name)] = value{name: name, Value: windows.Value{Type: kind, Data: data}}
	}
}

// Get implements windows.Registry.
func (h *hive) Get(keyName, name string) (windows.Value, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v, ok := h.find(foldKey(keyName), name)
	if !ok {
		return windows.Value{}, false, nil
	}
	return v.Value, true, nil
}

// HasKey implements windows.Registry. A key exists also where only keys below it were named.
func (h *hive) HasKey(keyName string) (found bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	wanted := foldKey(keyName)
	h.each(func(folded string, _ *key) {
		found = found || folded == wanted || strings.HasPrefix(folded, wanted+`\`)
	})
	return found, nil
}

// Set implements windows.Registry.
func (h *hive) Set(keyName, name string, v windows.Value) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	folded := foldKey(keyName)
	k := h.own(folded)
	if k == nil {
		return fmt.Errorf("set value %q of %q: %w", name, keyName, fs.ErrNotExist)
	}
	old, ok := h.find(folded, name)
	if ok {
		name = old.name
	}
	if !ok || !reflect.DeepEqual(old.Value, v) {
		h.changes++
	}
	k.values[strings.ToLower(name)] = value{name: name, Value: v}
	return nil
}

// Delete implements windows.Registry.
func (h *hive) Delete(keyName, name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	folded := foldKey(keyName)
	if old, ok := h.find(folded, name); ok {
		h.changes++
		h.own(folded).values[strings.ToLower(name)] = value{name: old.name, gone: true}
	}
	return nil
}

// MakeKey implements windows.Keys.
func (h *hive) MakeKey(keyName string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.own(foldKey(keyName)) == nil {
		h.put(keyName, "", "", nil)
		h.changes++
	}
	return nil
}

// RemoveKey implements windows.Keys. What all machines have in common stays.
func (h *hive) RemoveKey(keyName string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.base[foldKey(keyName)]; ok {
		return fmt.Errorf("remove key %q: it was there before", keyName)
	}
	delete(h.keys, foldKey(keyName))
	h.changes++
	return nil
}

// Inside implements windows.Keys.
func (h *hive) Inside(keyName string) (values int, below []string, err error) {
	all, keys := h.below(keyName)
	for _, name := range keys {
		below = append(below, name[strings.LastIndexByte(name, '\\')+1:])
	}
	return len(all), below, nil
}

// RegistryValue is a value in a snapshot.
type RegistryValue struct {
	Key  string `json:"key"`
	Name string `json:"name"`
	Type string `json:"type"`
	Data any    `json:"data"`
}

func (h *hive) snapshot() []RegistryValue {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []RegistryValue
	seen := map[string]bool{}
	h.each(func(folded string, k *key) {
		for name := range k.values {
			if id := folded + "\x00" + name; !seen[id] {
				seen[id] = true
				if v, ok := h.find(folded, name); ok {
					out = append(out, RegistryValue{k.name, v.name, v.Type, v.Data})
				}
			}
		}
	})
	slices.SortFunc(out, func(a, b RegistryValue) int {
		return cmp.Or(cmp.Compare(fold(a.Key), fold(b.Key)), cmp.Compare(fold(a.Name), fold(b.Name)))
	})
	return out
}

// below returns the values of one key and the names of the keys directly under it.
func (h *hive) below(keyName string) (values []RegistryValue, keys []string) {
	prefix := foldKey(keyName)
	for _, v := range h.snapshot() {
		if foldKey(v.Key) == prefix {
			values = append(values, v)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.each(func(folded string, k *key) {
		if rest, ok := strings.CutPrefix(folded, prefix+`\`); ok && !strings.Contains(rest, `\`) {
			keys = append(keys, k.name)
		}
	})
	slices.Sort(keys)
	return values, slices.Compact(keys)
}
