package pe

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/windows"
)

// Hive is a registry file of an installation, loaded into the registry of the Windows PE that runs. Keys are named from
// the root of the file. What Set and Delete did is on the disk when they return.
type Hive interface {
	windows.Registry
	windows.Keys
	// Close unloads the file. No key of it is used any more.
	Close() error
}

// registry is the registry of an installation that does not run, made of its files. Each file is loaded when it is first
// asked for, because it belongs to nobody else from then on; close gives them back.
type registry struct {
	windows *offline
	system  System
	loaded  map[string]Hive
	stuck   map[string]error // files that did not load in time: none is waited for twice
	current string           // control set that stands for CurrentControlSet
}

const localMachine = `HKEY_LOCAL_MACHINE\`

// place finds the file of a key, and the key in it.
func (r *registry) place(key string) (Hive, string, error) {
	rest, ok := cutFold(key, localMachine)
	if !ok {
		return nil, "", fmt.Errorf("%s is not below HKEY_LOCAL_MACHINE", key)
	}
	file, rest, _ := strings.Cut(rest, `\`)
	file = strings.ToUpper(file)
	switch file {
	case "SYSTEM", "SOFTWARE", "SAM", "SECURITY":
	default:
		return nil, "", fmt.Errorf(`not possible on an offline installation: HKEY_LOCAL_MACHINE\%s is in no file`, file)
	}
	h, err := r.load(file)
	if err != nil || file != "SYSTEM" {
		return h, rest, err
	}
	below, ok := cutFold(rest+`\`, `CurrentControlSet\`)
	if !ok {
		return h, rest, nil
	}
	if r.current == "" {
		if r.current, err = controlSet(h); err != nil {
			return nil, "", err
		}
	}
	return h, strings.TrimSuffix(r.current+`\`+below, `\`), nil
}

func cutFold(text, prefix string) (string, bool) {
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return text, false
	}
	return text[len(prefix):], true
}

// controlSet reads which control set the installation used last.
func controlSet(h Hive) (string, error) {
	v, ok, err := h.Get("Select", "Current")
	if err != nil {
		return "", fmt.Errorf("find the control set: %w", err)
	}
	n, number := v.Data.(uint64)
	if !ok || !number || n == 0 || n > 999 {
		return "", errors.New(`find the control set: SYSTEM\Select has no Current that can be right`)
	}
	set := fmt.Sprintf("ControlSet%03d", n)
	ok, err = h.HasKey(set)
	if err == nil && !ok {
		err = errors.New("there is no key " + set)
	}
	if err != nil {
		return "", fmt.Errorf("find the control set: %w", err)
	}
	return set, nil
}

func (r *registry) load(file string) (Hive, error) {
	if h, ok := r.loaded[file]; ok {
		return h, nil
	}
	if err := r.stuck[file]; err != nil {
		return nil, err
	}
	path, err := r.windows.files.Path(`C:\Windows\System32\config\` + file)
	if err == nil {
		var h Hive
		if h, err = r.open(file, path); err == nil {
			if r.loaded == nil {
				r.loaded = map[string]Hive{}
			}
			r.loaded[file] = h
			return h, nil
		}
	}
	if errors.Is(err, errSlow) {
		return nil, err
	}
	return nil, hint.Wrap(fmt.Errorf("load the registry file %s: %w", file, err), "if another program has loaded it, unload it there: reg unload")
}

// hivePatience is for Windows to read a file and what its logs have beside it. A damaged one, or a disk that fails, can take for ever.
const hivePatience = 2 * time.Minute

var errSlow = errors.New("it did not load within two minutes, and nothing in it was read or changed")

// open loads a file, with an end to the wait. One that comes when nobody waits any more is given back at once.
func (r *registry) open(file, path string) (Hive, error) {
	type answer struct {
		hive Hive
		err  error
	}
	came, left := make(chan answer), make(chan struct{})
	go func() {
		h, err := r.system.LoadHive(path)
		select {
		case came <- answer{h, err}:
		case <-left:
			if err == nil {
				_ = h.Close() // nobody is there to be told
			}
		}
	}()
	patience := time.NewTimer(hivePatience)
	defer patience.Stop()
	select {
	case a := <-came:
		return a.hive, a.err
	case <-patience.C:
	}
	close(left)
	if r.stuck == nil {
		r.stuck = map[string]error{}
	}
	r.stuck[file] = hint.Wrap(fmt.Errorf("load the registry file %s: %w", file, errSlow),
		"the file is damaged, or the disk fails: look at the disk first (chkdsk), and start again")
	return nil, r.stuck[file]
}

// close unloads every file, also after an error of another.
func (r *registry) close() error {
	var errs []error
	for file, h := range r.loaded {
		if err := h.Close(); err != nil {
			errs = append(errs, fmt.Errorf("unload the registry file %s: %w", file, err))
		}
	}
	r.loaded, r.current = nil, ""
	return errors.Join(errs...)
}

// Get implements [windows.Registry].
func (r *registry) Get(key, name string) (windows.Value, bool, error) {
	h, k, err := r.place(key)
	if err != nil {
		return windows.Value{}, false, err
	}
	return h.Get(k, name)
}

// HasKey implements [windows.Registry].
func (r *registry) HasKey(key string) (bool, error) {
	h, k, err := r.place(key)
	if err != nil {
		return false, err
	}
	return h.HasKey(k)
}

// Set implements [windows.Registry].
func (r *registry) Set(key, name string, value windows.Value) error {
	h, k, err := r.place(key)
	if err != nil {
		return err
	}
	return h.Set(k, name, value)
}

// MakeKey implements [windows.Keys].
func (r *registry) MakeKey(key string) error {
	h, k, err := r.place(key)
	if err != nil {
		return err
	}
	return h.MakeKey(k)
}

// RemoveKey implements [windows.Keys].
func (r *registry) RemoveKey(key string) error {
	h, k, err := r.place(key)
	if err != nil {
		return err
	}
	return h.RemoveKey(k)
}

// Inside implements [windows.Keys].
func (r *registry) Inside(key string) (values int, below []string, err error) {
	h, k, err := r.place(key)
	if err != nil {
		return 0, nil, err
	}
	return h.Inside(k)
}

// Delete implements [windows.Registry].
func (r *registry) Delete(key, name string) error {
	h, k, err := r.place(key)
	if err != nil {
		return err
	}
	return h.Delete(k, name)
}
