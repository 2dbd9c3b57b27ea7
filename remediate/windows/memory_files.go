package windows

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Look implements [Files].
func (m *Memory) Look(path string) (Kind, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.look(path), nil
}

func (m *Memory) look(path string) Kind {
	path = strings.TrimRight(path, `\`)
	if m.behindLinks(path) != path {
		return Link
	}
	if m.file(path) != nil {
		return File
	}
	folded := fold(path)
	for _, layer := range []map[string]map[string]*memoryFile{m.over.folders, m.base.folders} {
		for folder, files := range layer {
			if folder != folded && !strings.HasPrefix(folder, folded+`\`) {
				continue
			}
			for name, f := range files {
				if over, ok := m.over.folders[folder][name]; ok {
					f = over
				}
				if f != nil {
					return Directory
				}
			}
		}
	}
	if m.over.made[folded] || len(path) == 2 {
		return Directory
	}
	return Nothing
}

// Remove implements [Files].
func (m *Memory) Remove(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	kind := m.look(path)
	if kind != Directory && m.locked(path) {
		return &fs.PathError{Op: "remove", Path: path, Err: errInUse}
	}
	if _, ok := m.over.links[fold(path)]; ok { // the link, not what it leads to
		delete(m.over.links, fold(path))
		return nil
	}
	switch kind {
	case File:
		m.setFile(path, nil)
		delete(m.over.rights, fold(path)) // what is made there anew has the rights of its folder
		return nil
	case Directory:
		if m.over.made[fold(path)] {
			delete(m.over.made, fold(path))
			if m.look(path) == Nothing {
				return nil
			}
			m.over.made[fold(path)] = true
		}
		return &fs.PathError{Op: "remove", Path: path, Err: fs.ErrExist}
	}
	return &fs.PathError{Op: "remove", Path: path, Err: fs.ErrNotExist}
}

// makeWay makes the folders of a path that are not there.
func (m *Memory) makeWay(path string) {
	for folder, _ := splitPath(path); len(folder) > 2; folder, _ = splitPath(folder) {
		if m.look(folder) != Nothing {
			return
		}
		if m.over.made == nil {
			m.over.made = map[string]bool{}
		}
		m.over.made[fold(folder)] = true
	}
}

// SetRights gives a folder's owner and rights as SDDL; without it they are ours.
func (m *Memory) SetRights(folder, sddl string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over.rights == nil {
		m.over.rights = map[string]string{}
	}
	m.over.rights[fold(folder)] = sddl
}

// Own implements [Files].
func (m *Memory) Own(folder string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch m.look(folder) {
	case Link:
		return fmt.Errorf("%s is a link: refused", folder)
	case File:
		return fmt.Errorf("%s is no folder: refused", folder)
	case Nothing:
		m.makeWay(folder + `\x`)
		delete(m.over.rights, fold(folder))
	}
	sddl, ok := m.over.rights[fold(folder)]
	if !ok {
		return nil // as it was made
	}
	err := ProveRights(folder, sddl)
	if err != nil && m.empty(folder) && ProveOwner(sddl) { // left by a power cut
		delete(m.over.rights, fold(folder))
		return nil
	}
	return err
}

// empty reports whether nothing is in a folder; the caller holds mu.
func (m *Memory) empty(folder string) bool {
	below := fold(folder) + `\`
	for made := range m.over.made {
		if strings.HasPrefix(made, below) {
			return false
		}
	}
	for _, layer := range []map[string]map[string]*memoryFile{m.over.folders, m.base.folders} {
		for place := range layer {
			if place+`\` != below && !strings.HasPrefix(place, below) {
				continue
			}
			if files, _ := m.inFolder(place); len(files) > 0 {
				return false
			}
		}
	}
	return true
}

// Prove implements [Prover].
func (m *Memory) Prove(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if sddl, ok := m.over.rights[fold(path)]; ok {
		return ProveRights(path, sddl)
	}
	return nil
}

func (m *Memory) locked(path string) bool {
	return slices.ContainsFunc(m.Locked, func(held string) bool { return strings.EqualFold(held, path) })
}

// MoveAll moves a file, or a folder with its files: the outside world at work, not a repair.
func (m *Memory) MoveAll(from, to string) {
	for _, f := range m.Snapshot() {
		if rest, ok := strings.CutPrefix(fold(f.Path), fold(from)); ok && (rest == "" || rest[0] == '\\') {
			m.RemoveFile(f.Path)
			m.WriteFile(to+f.Path[len(from):], f.Content, f.Modified)
		}
	}
}

// Damage gives a file another last byte: the outside world at work, not a repair.
func (m *Memory) Damage(path string) {
	for _, f := range m.Snapshot() {
		if fold(f.Path) == fold(path) && len(f.Content) > 0 {
			content := bytes.Clone(f.Content)
			content[len(content)-1] ^= 1
			m.WriteFile(path, content, f.Modified)
		}
	}
}
