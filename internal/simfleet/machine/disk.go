package machine

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/windows"
)

// errInUse is what Windows says of a file that another process holds open without sharing.
var errInUse = errors.New("the process cannot access the file because it is being used by another process")

// entry is one file. Its content is shared between machines and never changed in place.
type entry struct {
	path     string // as stored
	content  []byte
	modified time.Time
	inUse    bool
}

// disk is the volume C: of a machine; it implements windows.Files. Folders exist as far as files are in them, and as
// far as they were named when the machine was made.
type disk struct {
	mu      sync.Mutex
	now     func() time.Time
	files   map[string]*entry // by path in lower case
	folders map[string]string // by path in lower case, as stored
	changes int64             // to anything outside the agent's own folder
}

func newDisk(now func() time.Time) *disk {
	return &disk{now: now, files: map[string]*entry{}, folders: map[string]string{`c:`: `C:`}}
}

func fold(path string) string {
	return strings.ToLower(strings.TrimRight(strings.ReplaceAll(path, "/", `\`), `\`))
}

func parent(path string) string {
	if i := strings.LastIndexByte(path, '\\'); i >= 0 {
		return path[:i]
	}
	return ""
}

func base(path string) string { return path[strings.LastIndexByte(path, '\\')+1:] }

// folder makes a folder and its parents; the lock is held or the machine is not yet shared.
func (d *disk) folder(path string) {
	path = strings.TrimRight(strings.ReplaceAll(path, "/", `\`), `\`)
	for ; path != ""; path = parent(path) {
		if _, ok := d.folders[fold(path)]; ok {
			return
		}
		d.folders[fold(path)] = path
	}
}

// put places a file while the machine is made.
func (d *disk) put(path string, content []byte, modified time.Time) *entry {
	e := &entry{path: path, content: content, modified: modified}
	d.files[fold(path)] = e
	d.folder(parent(path))
	return e
}

// List implements windows.Files.
func (d *disk) List(folder string) ([]windows.FileInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.folders[fold(folder)]; !ok {
		return nil, fmt.Errorf("list %q: %w", folder, fs.ErrNotExist)
	}
	prefix := fold(folder) + `\`
	var out []windows.FileInfo
	for path, e := range d.files {
		if rest, ok := strings.CutPrefix(path, prefix); ok && !strings.Contains(rest, `\`) {
			out = append(out, windows.FileInfo{Name: base(e.path), Size: int64(len(e.content)), Modified: e.modified})
		}
	}
	slices.SortFunc(out, func(a, b windows.FileInfo) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// subfolders returns the names of the folders directly in a folder.
func (d *disk) subfolders(folder string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	prefix := fold(folder) + `\`
	var out []string
	for path, stored := range d.folders {
		if rest, ok := strings.CutPrefix(path, prefix); ok && !strings.Contains(rest, `\`) {
			out = append(out, base(stored))
		}
	}
	slices.Sort(out)
	return out
}

func (d *disk) hasFolder(path string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.folders[fold(path)]
	return ok
}

func (d *disk) stat(path string) (entry, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e, ok := d.files[fold(path)]; ok {
		return *e, true
	}
	return entry{}, false
}

// Open implements windows.Files.
func (d *disk) Open(path string) (io.ReadCloser, error) {
	e, ok := d.stat(path)
	if !ok {
		return nil, fmt.Errorf("open %q: %w", path, fs.ErrNotExist)
	}
	return io.NopCloser(bytes.NewReader(e.content)), nil
}

// Create implements windows.Files.
func (d *disk) Create(path string, content []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.taken(path) {
		return fmt.Errorf("create %q: %w", path, fs.ErrExist)
	}
	if string(content) == agent.Script() {
		content = keptAgent
	} else {
		content = bytes.Clone(content)
	}
	d.put(path, content, d.now().UTC())
	d.changed(path)
	return nil
}

// keptAgent is the agent's text as machines keep it: one for all of them, however many thousands.
var keptAgent = []byte(agent.Script())

// ownFolder is where the agent keeps its records; what it writes there changes nothing on the machine.
const ownFolder = `c:\programdata\fleetmend\`

// changed counts a change that touches any of the paths; the lock is held.
func (d *disk) changed(paths ...string) {
	for _, path := range paths {
		if !strings.HasPrefix(fold(path), ownFolder) {
			d.changes++
			return
		}
	}
}

func (d *disk) taken(path string) bool {
	_, file := d.files[fold(path)]
	_, folder := d.folders[fold(path)]
	return file || folder
}

// Move implements windows.Files.
func (d *disk) Move(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, ok := d.files[fold(from)]
	switch {
	case !ok:
		return fmt.Errorf("move %s: %w", from, fs.ErrNotExist)
	case d.taken(to) && fold(from) != fold(to):
		return fmt.Errorf("move %s to %s: %w", from, to, fs.ErrExist)
	case e.inUse:
		return fmt.Errorf("move %s: %w", from, errInUse)
	}
	delete(d.files, fold(from))
	d.put(to, e.content, e.modified)
	d.changed(from, to)
	return nil
}

// Remove implements windows.Files.
func (d *disk) Remove(path string) error {
	if !d.hasFolder(path) {
		return d.remove(path)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, all := range []iter.Seq[string]{maps.Keys(d.files), maps.Keys(d.folders)} {
		for one := range all {
			if strings.HasPrefix(one, fold(path)+`\`) {
				return fmt.Errorf("remove %s: it is not empty", path)
			}
		}
	}
	delete(d.folders, fold(path))
	d.changed(path)
	return nil
}

// Look implements windows.Files. There are no links here.
func (d *disk) Look(path string) (windows.Kind, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.files[fold(path)]; ok {
		return windows.File, nil
	}
	if _, ok := d.folders[fold(path)]; ok {
		return windows.Directory, nil
	}
	return windows.Nothing, nil
}

// Own implements windows.Files. Nobody but the agent writes below its folder here, so there are no rights to prove.
func (d *disk) Own(folder string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.files[fold(folder)]; ok {
		return fmt.Errorf("%s is no folder: refused", folder)
	}
	d.folder(folder)
	return nil
}

// remove deletes a file, for the del command.
func (d *disk) remove(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, ok := d.files[fold(path)]
	if !ok {
		return fs.ErrNotExist
	}
	if e.inUse {
		return errInUse
	}
	delete(d.files, fold(path))
	d.changed(path)
	return nil
}

// File is a file in a snapshot.
type File struct {
	Path     string    `json:"path"`
	SHA256   string    `json:"sha256"` // upper-case hex
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"` // UTC
}

func (d *disk) snapshot() []File {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]File, 0, len(d.files))
	for _, e := range d.files {
		sum := sha256.Sum256(e.content)
		out = append(out, File{Path: e.path, SHA256: strings.ToUpper(hex.EncodeToString(sum[:])), Size: int64(len(e.content)), Modified: e.modified.UTC()})
	}
	slices.SortFunc(out, func(a, b File) int { return cmp.Compare(fold(a.Path), fold(b.Path)) })
	return out
}
