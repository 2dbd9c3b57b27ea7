package machine

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/fleetmend/fleetmend/remediate/windows"
)

// takeBack brings the machine to what PowerShell made of its folder.
func (m *Machine) takeBack() error {
	return errors.Join(m.takeFiles(), m.takeRegistry(), m.takeServices(), m.takeBoot())
}

func (m *Machine) takeFiles() error {
	l := m.lab
	seen := map[string]bool{}
	err := filepath.WalkDir(l.scratch, func(place string, d fs.DirEntry, err error) error {
		if err != nil || place == l.scratch {
			return err
		}
		below, err := filepath.Rel(l.scratch, place)
		if err != nil {
			return err //nolint:wrapcheck // cannot be: the walk begins there
		}
		path := `C:\` + strings.ReplaceAll(filepath.ToSlash(below), "/", `\`)
		if d.IsDir() {
			m.disk.mu.Lock()
			m.disk.folder(path)
			m.disk.mu.Unlock()
			return nil
		}
		folded := fold(path)
		if rest, ok := strings.CutPrefix(folded, ownTools); ok && strings.HasSuffix(rest, ".exe") && l.known[folded] == nil {
			return nil // laid out by us
		}
		seen[folded] = true
		info, err := d.Info()
		if err != nil {
			return err //nolint:wrapcheck // the path says it
		}
		old := l.known[folded]
		if old != nil && old.path == path && info.Size() == int64(len(old.content)) && info.ModTime().Equal(old.modified) {
			return nil
		}
		content, err := os.ReadFile(place) //nolint:gosec // below our own folder
		if err != nil {
			return err //nolint:wrapcheck // the path says it
		}
		m.disk.mu.Lock()
		defer m.disk.mu.Unlock()
		l.known[folded] = m.disk.put(path, content, info.ModTime().UTC())
		if old == nil || !bytes.Equal(old.content, content) {
			m.disk.changed(path)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("take the files of %s back: %w", m.spec.Name, err)
	}
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	for folded := range l.known {
		if !seen[folded] {
			delete(l.known, folded)
			delete(m.disk.files, folded)
			m.disk.changed(folded)
		}
	}
	return nil
}

func (m *Machine) read(kind string, into any) error {
	raw, err := os.ReadFile(m.lab.scratch + "." + kind)
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		return fmt.Errorf("take the %s of %s back: %w", kind, m.spec.Name, err)
	}
	return nil
}

func (m *Machine) takeRegistry() error {
	var now map[string]map[string]string
	if err := m.read("registry", &now); err != nil {
		return err
	}
	there := map[string]bool{}
	var errs []error
	for key, values := range now {
		if has, _ := m.registry.HasKey(key); !has {
			m.registry.mu.Lock()
			m.registry.put(key, "", "", nil)
			m.registry.changes++
			m.registry.mu.Unlock()
		}
		for name, text := range values {
			there[fold(key)+"\x00"+strings.ToLower(name)] = true
			number, digits, _ := strings.Cut(text, ":")
			kind, err := strconv.ParseUint(number, 10, 32)
			raw, hexErr := hex.DecodeString(digits)
			errs = append(errs, err, hexErr, m.registry.Set(key, name, windows.DecodeValue(uint32(kind), raw)))
		}
	}
	for _, v := range m.registry.snapshot() {
		if !there[fold(v.Key)+"\x00"+strings.ToLower(v.Name)] {
			errs = append(errs, m.registry.Delete(v.Key, v.Name))
		}
	}
	return errors.Join(errs...)
}

func (m *Machine) takeServices() error {
	var now map[string]string
	if err := m.read("services", &now); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, state := range now {
		running := state == windows.StateRunning
		if m.running[strings.ToLower(name)] != running {
			m.running[strings.ToLower(name)] = running
			m.turned++
		}
	}
	return nil
}

// takeBoot takes the boot entry back, and a restart that was asked for.
func (m *Machine) takeBoot() error {
	raw, err := os.ReadFile(m.lab.scratch + ".bcd")
	if err != nil {
		return fmt.Errorf("take the boot entry of %s back: %w", m.spec.Name, err)
	}
	now := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		now[strings.ToLower(name)] = value
	}
	m.mu.Lock()
	for name := range m.bcd {
		if _, ok := now[name]; !ok {
			delete(m.bcd, name)
			m.turned++
		}
	}
	for name, value := range now {
		if m.bcd[name] != value {
			m.bcd[name] = value
			m.turned++
		}
	}
	m.mu.Unlock()
	asked, err := os.ReadFile(m.lab.scratch + ".restart")
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(asked) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("take the restart of %s back: %w", m.spec.Name, err)
	}
	said, exit, err := (&tools{m}).shutdown(strings.Split(strings.TrimSpace(string(asked)), "\n"))
	if err == nil && exit != 0 {
		err = fmt.Errorf("restart %s: %s", m.spec.Name, strings.Join(said, " "))
	}
	return err
}
