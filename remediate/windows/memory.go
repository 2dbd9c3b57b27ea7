package windows

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Base is the content that many [Memory] machines share: it is never changed after its first use, and costs a machine
// nothing. Fill it with the Add methods, then give it to [NewMemory] as often as needed.
type Base struct {
	folders  map[string]map[string]*memoryFile // folded folder -> folded name
	registry map[string]map[string]memoryValue // folded key -> folded name
	services map[string]string                 // folded name -> state
	bcd      []bcdElement
}

type memoryFile struct {
	path     string // as stored, full
	content  []byte
	modified time.Time
	sddl     string // where it is spoken of, and not what the folder hands down
}

type memoryValue struct {
	name  string
	value Value
}

type bcdElement struct{ name, value string }

// NewBase returns a base with an empty drive, a Windows build number (unless it is 0) and a boot entry.
func NewBase(build int) *Base {
	b := &Base{
		folders:  map[string]map[string]*memoryFile{},
		registry: map[string]map[string]memoryValue{},
		services: map[string]string{},
		bcd: []bcdElement{
			{"identifier", "{11111111-2222-3333-4444-555555555555}"},
			{"device", "partition=C:"},
			{"path", `\Windows\system32\winload.efi`},
			{"description", "Windows"},
			{"osdevice", "partition=C:"},
			{"systemroot", `\Windows`},
		},
	}
	if build > 0 {
		b.AddValue(versionKey, "CurrentBuildNumber", Value{"string", strconv.Itoa(build)})
	}
	return b
}

// AddFile puts a file into the base.
func (b *Base) AddFile(path string, content []byte, modified time.Time) {
	folder, name := splitPath(fold(path))
	if b.folders[folder] == nil {
		b.folders[folder] = map[string]*memoryFile{}
	}
	b.folders[folder][name] = &memoryFile{path: path, content: content, modified: modified.UTC()}
}

// AddValue puts a registry value into the base, with its key.
func (b *Base) AddValue(key, name string, value Value) {
	b.AddKey(key)
	b.registry[fold(key)][fold(name)] = memoryValue{name, value}
}

// AddKey puts an empty registry key into the base.
func (b *Base) AddKey(key string) {
	if b.registry[fold(key)] == nil {
		b.registry[fold(key)] = map[string]memoryValue{}
	}
}

// AddService puts a service into the base, stopped or running; its start type is a registry value like any other.
func (b *Base) AddService(name string, running bool) {
	b.services[fold(name)] = StateStopped
	if running {
		b.services[fold(name)] = StateRunning
	}
}

// AddBCD puts an element into the base's boot entry {default}.
func (b *Base) AddBCD(name, value string) { b.bcd = append(b.bcd, bcdElement{name, value}) }

// Memory is a whole Windows under repair in memory: what [Base] holds and what this machine has changed of it. It
// implements [Files], [Registry], [Services], [Tools] and [System], is safe for concurrent use, and costs a few hundred
// bytes until something is changed. Set the exported fields before its first use.
type Memory struct {
	// Clock gives the time for new files and the uptime; time.Now when nil.
	Clock func() time.Time
	// Booted is when the machine started; the zero time means that its uptime cannot be known.
	Booted time.Time
	// OnTool, when set, is asked first: with handled false Memory answers by itself (bcdedit.exe and shutdown.exe).
	OnTool func(name string, args []string) (output []string, exit int, handled bool)
	// OnScript runs scripts; without it a script cannot be run.
	OnScript func(ctx context.Context, shell, body string, args []string) (output string, exit int, err error)
	// Below are the services that depend on one, by its name, and stop with it.
	Below map[string][]string
	// NeverStops is the name of a service that takes the order to stop and goes on.
	NeverStops string
	// NeverStarts is the name of a service that takes the order to start and never gets ready.
	NeverStarts string
	// InUse are files that a program holds open without sharing: they can be read, and not moved.
	InUse []string
	// Locked are files that cannot be read or removed either.
	Locked []string
	// Meanwhile is a file to which somebody writes, once, in the very moment in which it is moved.
	Meanwhile string
	// SystemDrive is the drive that Windows is on; C: when empty.
	SystemDrive string
	// OnRestart is called when shutdown.exe was asked to restart the machine.
	OnRestart func()

	base *Base
	mu   sync.Mutex
	over overlay
	due  bool // a restart is scheduled
}

// overlay is what differs from the base. A nil file, and a value with deleted set, hide what the base has.
type overlay struct {
	folders  map[string]map[string]*memoryFile
	registry map[string]map[string]*memoryValue
	services map[string]string
	start    map[string]uint64 // the controller's memory; nil: it looks into the registry
	bcd      []bcdElement
	otherBCD []bcdElement // of another Windows, which is {default} then
	links    map[string]string
	made     map[string]bool   // empty folders, folded
	rights   map[string]string // of folders, as SDDL
}

// NewMemory returns a machine on the base.
func NewMemory(base *Base) *Memory { return &Memory{base: base} }

// Parts returns the machine as what [New] takes.
func (m *Memory) Parts() Parts {
	return Parts{Files: m, Registry: m, Services: m, Tools: m, System: m, Now: m.now}
}

func (m *Memory) now() time.Time {
	if m.Clock != nil {
		return m.Clock()
	}
	return time.Now()
}

// Restarted tells the machine that it has started again just now.
func (m *Memory) Restarted() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Booted, m.due = m.now(), false
	if m.over.start != nil {
		m.readStarts()
	}
}

// file finds a file; the caller holds mu.
func (m *Memory) file(path string) *memoryFile {
	folder, name := splitPath(m.resolve(path))
	if over, ok := m.over.folders[folder][name]; ok {
		return over
	}
	return m.base.folders[folder][name]
}

func (m *Memory) setFile(path string, f *memoryFile) {
	folder, name := splitPath(m.resolve(path))
	if f != nil {
		f.path = m.behindLinks(f.path)
	}
	if m.over.folders == nil {
		m.over.folders = map[string]map[string]*memoryFile{}
	}
	if m.over.folders[folder] == nil {
		m.over.folders[folder] = map[string]*memoryFile{}
	}
	m.over.folders[folder][name] = f
}

// resolve is where a path lies when its links are followed, folded; the caller holds mu.
func (m *Memory) resolve(path string) string { return fold(m.behindLinks(path)) }

func (m *Memory) behindLinks(path string) string {
	for range 8 {
		before := path
		for link, to := range m.over.links {
			if folded := fold(path); folded == link || strings.HasPrefix(folded, link+`\`) {
				path = to + path[len(link):]
			}
		}
		if path == before {
			break
		}
	}
	return path
}

// SetLink puts a link to a folder into the place of what is there: the outside world at work, not a repair.
func (m *Memory) SetLink(path, to string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, layer := range []map[string]map[string]*memoryFile{m.base.folders, m.over.folders} {
		for folder, files := range layer {
			if folder != fold(path) && !strings.HasPrefix(folder, fold(path)+`\`) {
				continue
			}
			for _, f := range files {
				if f != nil {
					m.setFile(f.path, nil)
				}
			}
		}
	}
	m.setFile(path, nil)
	if m.over.links == nil {
		m.over.links = map[string]string{}
	}
	m.over.links[fold(path)] = to
}

// Linked reports whether a path, or a folder on the way to it, is a link.
func (m *Memory) Linked(path string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.behindLinks(path) != path
}

// inFolder returns a folder's files sorted by name; the caller holds mu.
func (m *Memory) inFolder(folded string) (files []*memoryFile, exists bool) {
	all := m.base.folders[folded]
	exists = all != nil
	if over := m.over.folders[folded]; over != nil {
		exists = true
		all = maps.Clone(all)
		if all == nil {
			all = map[string]*memoryFile{}
		}
		maps.Copy(all, over)
	}
	for _, f := range all {
		if f != nil {
			files = append(files, f)
		}
	}
	slices.SortFunc(files, func(a, b *memoryFile) int { return cmp.Compare(a.path, b.path) })
	return files, exists
}

// List implements [Files].
func (m *Memory) List(folder string) ([]FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	files, exists := m.inFolder(m.resolve(strings.TrimRight(folder, `\`)))
	if !exists {
		return nil, &fs.PathError{Op: "list", Path: folder, Err: fs.ErrNotExist}
	}
	infos := make([]FileInfo, len(files))
	for i, f := range files {
		_, name := splitPath(f.path)
		infos[i] = FileInfo{Name: name, Size: int64(len(f.content)), Modified: f.modified}
	}
	return infos, nil
}

// Open implements [Files].
func (m *Memory) Open(path string) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.file(path)
	switch {
	case f == nil:
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	case m.locked(path):
		return nil, &fs.PathError{Op: "open", Path: path, Err: errInUse}
	}
	return io.NopCloser(bytes.NewReader(f.content)), nil
}

// Create implements [Files].
func (m *Memory) Create(path string, content []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.look(path) != Nothing && m.look(path) != Link {
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	m.makeWay(path)
	m.setFile(path, &memoryFile{path: path, content: bytes.Clone(content), modified: m.now().UTC()})
	return nil
}

// Move implements [Files].
func (m *Memory) Move(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.file(from)
	switch {
	case f == nil:
		return &fs.PathError{Op: "move", Path: from, Err: fs.ErrNotExist}
	case m.file(to) != nil || m.look(to) == Directory:
		return &fs.PathError{Op: "move", Path: to, Err: fs.ErrExist}
	case slices.ContainsFunc(m.InUse, func(held string) bool { return strings.EqualFold(held, from) }):
		return &fs.PathError{Op: "move", Path: from, Err: errInUse}
	}
	m.makeWay(to)
	sddl, content := m.rights(from), f.content
	if strings.EqualFold(m.Meanwhile, from) {
		m.Meanwhile = ""
		content = bytes.Clone(content)
		content[len(content)-1] ^= 1
	}
	m.setFile(from, nil)
	m.setFile(to, &memoryFile{to, content, f.modified, sddl})
	return nil
}

// WriteFile puts a file onto this machine, over an existing one: the outside world at work, not a repair.
func (m *Memory) WriteFile(path string, content []byte, modified time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setFile(path, &memoryFile{path: path, content: bytes.Clone(content), modified: modified.UTC()})
}

// RemoveFile takes a file off this machine: the outside world at work, not a repair.
func (m *Memory) RemoveFile(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setFile(path, nil)
}

// FileState is one file as [Memory.Snapshot] returns it.
type FileState struct {
	Path     string
	Content  []byte
	Modified time.Time
}

// Snapshot returns every file of the machine, sorted by path.
func (m *Memory) Snapshot() []FileState {
	m.mu.Lock()
	defer m.mu.Unlock()
	folders := slices.Collect(maps.Keys(m.base.folders))
	folders = slices.AppendSeq(folders, maps.Keys(m.over.folders))
	slices.Sort(folders)
	var all []FileState
	for _, folder := range slices.Compact(folders) {
		files, _ := m.inFolder(folder)
		for _, f := range files {
			all = append(all, FileState{f.path, f.content, f.modified})
		}
	}
	slices.SortFunc(all, func(a, b FileState) int { return cmp.Compare(a.Path, b.Path) })
	return all
}

// fold is how names are compared: Windows ignores case.
func fold(name string) string { return strings.ToUpper(name) }

// splitPath cuts at the last backslash.
func splitPath(path string) (folder, name string) {
	at := strings.LastIndexByte(path, '\\')
	if at < 0 {
		return "", path
	}
	return path[:at], path[at+1:]
}

// errInUse is what Windows says of a file that another process holds open without sharing.
var errInUse = errors.New("the process cannot access the file because it is being used by another process")

var errNoScript = errors.New("this machine runs no scripts")

// Forbids implements [Tools]: there are no policies here.
func (m *Memory) Forbids(string) error { return nil }

// Script implements [Tools].
func (m *Memory) Script(ctx context.Context, shell, body string, args []string) (string, int, error) {
	if m.OnScript == nil {
		return "", 0, errNoScript
	}
	return m.OnScript(ctx, shell, body, args)
}

// Run implements [Tools]: bcdedit.exe on the boot entry {default} and shutdown.exe /r, or what OnTool answers.
func (m *Memory) Run(_ context.Context, name string, args ...string) ([]string, int, error) {
	if m.OnTool != nil {
		if output, exit, handled := m.OnTool(name, args); handled {
			return output, exit, nil
		}
	}
	switch strings.ToLower(name) {
	case "bcdedit.exe":
		output, exit := m.bcdedit(args)
		return output, exit, nil
	case "shutdown.exe":
		output, exit := m.shutdown(args)
		return output, exit, nil
	}
	return nil, 0, fmt.Errorf("run %s: %w", name, fs.ErrNotExist)
}
