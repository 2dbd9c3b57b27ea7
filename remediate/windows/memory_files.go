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
	if m.over.made[folded] || folded == "C:" {
		return Directory
	}
	for link := range m.over.links {
		if strings.HasPrefix(link, folded+`\`) {
			return Directory
		}
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

// defaultRights are those of places of which a machine whose rights are spoken of does not speak.
var defaultRights = map[string]string{
	"C:":             "O:SYG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)",
	"D:":             "O:SYG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)",
	`C:\PROGRAMDATA`: "O:SYG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)(A;CI;0x116;;;BU)",
}

// SetRights gives a file or folder owner and rights as SDDL. A machine of which none are given has no rights at all.
func (m *Memory) SetRights(path, sddl string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over.rights == nil {
		m.over.rights = map[string]string{}
	}
	if f := m.file(path); f != nil {
		m.setFile(path, &memoryFile{f.path, f.content, f.modified, sddl})
		return
	}
	m.over.rights[fold(path)] = sddl
}

// rights are those of a file or folder: its own, or what the folders above hand down. The caller holds mu.
func (m *Memory) rights(path string) string {
	if m.over.rights == nil {
		return ""
	}
	if f := m.file(path); f != nil && f.sddl != "" {
		return f.sddl
	}
	if sddl, ok := m.over.rights[fold(path)]; ok {
		return sddl
	}
	if sddl, ok := defaultRights[fold(path)]; ok {
		return sddl
	}
	folder, _ := splitPath(path)
	if folder == "" {
		return ""
	}
	above := m.rights(folder)
	if m.file(path) == nil {
		return "O:BAG:SYD:AI" + handedDown(above, true)
	}
	return "O:BAG:SYD:AI" + handedDown(above, false)
}

// Marks implements [Marker].
func (m *Memory) Marks(path string) (Marks, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Marks{SDDL: m.rights(path)}, nil
}

// Mark implements [Marker].
func (m *Memory) Mark(path string, marks Marks) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.file(path)
	if f == nil || m.over.rights == nil {
		return nil
	}
	now := m.rights(path)
	head := now[:strings.Index(now, "D:")]
	owner, list := splitRights(marks.SDDL)
	if marks.SDDL == "" {
		folder, _ := splitPath(path)
		list = "D:AI" + handedDown(m.rights(folder), false)
	} else if _, group, ok := strings.Cut(head, "G:"); ok {
		head = "O:" + owner + "G:" + group
	}
	m.setFile(path, &memoryFile{f.path, f.content, f.modified, head + list})
	return nil
}

// Rights tells what a file or folder of its own has, "" where it has what its folder hands down.
func (m *Memory) Rights(path string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.file(path); f != nil {
		return f.sddl
	}
	return m.over.rights[fold(path)]
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
		m.close(folder)
	}
	sddl := m.rights(folder)
	if sddl == "" {
		return nil // nobody speaks of rights
	}
	err := ProveRights(folder, sddl)
	if err != nil && m.empty(folder) && ProveOwner(sddl) { // left by a power cut
		m.close(folder)
		return nil
	}
	return err
}

// close gives a folder our rights. One that is made in a folder of ours has them from there.
func (m *Memory) close(folder string) {
	if m.over.rights == nil {
		return
	}
	delete(m.over.rights, fold(folder))
	if ProveRights(folder, m.rights(folder)) != nil {
		m.over.rights[fold(folder)] = "O:BAG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"
	}
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
	if sddl := m.rights(path); sddl != "" {
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
