package windows

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Folder is [Files] over a folder of this computer that holds the volume of an offline installation: C:\ is the folder.
// Names are found without regard to case, also where the file system tells case apart. Every access goes through
// [os.Root]: a path that climbs, or a symbolic link or junction that leads out of the folder, is refused.
type Folder struct{ root *os.Root }

// OpenFolder opens the folder. Close it when the work is done.
func OpenFolder(path string) (*Folder, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open volume: %w", err)
	}
	return &Folder{root}, nil
}

// Close releases the folder.
func (f *Folder) Close() error { return f.root.Close() }

// local finds the path below the folder: its parts as stored, and those that do not exist as given.
func (f *Folder) local(path string) (string, error) {
	rest, ok := strings.CutPrefix(strings.ToUpper(path[:min(2, len(path))]), "C:")
	if !ok || rest != "" {
		return "", &fs.PathError{Op: "open", Path: path, Err: errors.New("not on this volume")}
	}
	at := "."
	for part := range strings.SplitSeq(path[2:], `\`) {
		if part == "" {
			continue
		}
		if part == ".." || strings.ContainsAny(part, "/\x00") {
			return "", &fs.PathError{Op: "open", Path: path, Err: errors.New("path climbs")}
		}
		stored, err := f.stored(at, part)
		if err != nil {
			return "", err
		}
		at = filepath.Join(at, stored)
	}
	return at, nil
}

// stored returns the name of an entry as the file system has it, or name where there is none.
func (f *Folder) stored(folder, name string) (string, error) {
	if _, err := f.root.Lstat(filepath.Join(folder, name)); err == nil {
		return name, nil
	}
	entries, err := f.entries(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return name, nil
	}
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if fold(e.Name()) == fold(name) {
			return e.Name(), nil
		}
	}
	return name, nil
}

func (f *Folder) entries(folder string) ([]os.DirEntry, error) {
	open, err := f.root.Open(folder)
	if err != nil {
		return nil, err
	}
	entries, err := open.ReadDir(-1)
	return entries, errors.Join(err, open.Close())
}

// List implements [Files].
func (f *Folder) List(folder string) ([]FileInfo, error) {
	local, err := f.local(folder)
	if err != nil {
		return nil, err
	}
	entries, err := f.entries(local)
	if err != nil {
		return nil, err
	}
	var infos []FileInfo
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, FileInfo{info.Name(), info.Size(), info.ModTime().UTC()})
	}
	slices.SortFunc(infos, func(a, b FileInfo) int { return strings.Compare(a.Name, b.Name) })
	return infos, nil
}

// Open implements [Files].
func (f *Folder) Open(path string) (io.ReadCloser, error) {
	local, err := f.local(path)
	if err != nil {
		return nil, err
	}
	return f.root.Open(local)
}

// Path tells where a file is on this computer, for those who can open it by its name only.
func (f *Folder) Path(path string) (string, error) {
	local, err := f.local(path)
	if err != nil {
		return "", err
	}
	if _, err := f.root.Stat(local); err != nil { // also where it leads out of the folder
		return "", err
	}
	return filepath.Join(f.root.Name(), local), nil
}

// Create implements [Files]: written aside, synced, then renamed.
func (f *Folder) Create(path string, content []byte) error {
	local, err := f.makeWay("create", path)
	if err != nil {
		return err
	}
	aside := local + ".new"
	file, err := f.root.OpenFile(aside, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, f.unlink(aside))
	}
	return f.root.Rename(aside, local)
}

// Move implements [Files]; a rename keeps the times.
func (f *Folder) Move(from, to string) error {
	source, err := f.local(from)
	if err != nil {
		return err
	}
	if _, err := f.root.Lstat(source); err != nil {
		return err
	}
	target, err := f.makeWay("move", to)
	if err != nil {
		return err
	}
	return f.root.Rename(source, target)
}

// makeWay makes the parents of a path that must not exist yet.
func (f *Folder) makeWay(op, path string) (string, error) {
	local, err := f.local(path)
	if err != nil {
		return "", err
	}
	if _, err := f.root.Lstat(local); err == nil {
		return "", &fs.PathError{Op: op, Path: path, Err: fs.ErrExist}
	}
	return local, f.root.MkdirAll(filepath.Dir(local), 0o755)
}

// Remove implements [Files].
func (f *Folder) Remove(path string) error {
	local, err := f.local(path)
	if err != nil {
		return err
	}
	return f.unlink(local)
}

// Look implements [Files].
func (f *Folder) Look(path string) (Kind, error) {
	if len(path) < 2 || fold(path[:2]) != "C:" {
		return Nothing, &fs.PathError{Op: "look", Path: path, Err: errors.New("not on this volume")}
	}
	at, kind := ".", Directory
	for part := range strings.SplitSeq(path[2:], `\`) {
		if part == "" {
			continue
		}
		if part == ".." || strings.ContainsAny(part, "/\x00") {
			return Nothing, &fs.PathError{Op: "look", Path: path, Err: errors.New("path climbs")}
		}
		if kind != Directory {
			return Nothing, nil
		}
		stored, err := f.stored(at, part)
		if err != nil {
			return Nothing, err
		}
		at = filepath.Join(at, stored)
		info, err := f.root.Lstat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return Nothing, nil
		case err != nil:
			return Nothing, err
		case info.Mode()&(fs.ModeSymlink|fs.ModeIrregular) != 0: // the second is a junction
			return Link, nil
		case info.IsDir():
			kind = Directory
		default:
			kind = File
		}
	}
	return kind, nil
}

// Own implements [Files].
func (f *Folder) Own(folder string) error {
	kind, err := f.Look(folder)
	if err != nil {
		return err
	}
	switch kind {
	case Link:
		return fmt.Errorf("%s is a link: refused", folder)
	case File:
		return fmt.Errorf("%s is no folder: refused", folder)
	}
	local, err := f.local(folder)
	if err != nil {
		return err
	}
	if kind == Directory {
		err := f.proveOwn(folder, local)
		if err == nil || !f.leftover(local) {
			return err
		}
		if err := f.root.Remove(local); err != nil { // only an empty folder goes
			return fmt.Errorf("remove %s: %w", folder, err)
		}
	}
	if err := f.root.MkdirAll(filepath.Dir(local), 0o755); err != nil {
		return err
	}
	if err := f.makeOwn(local); err != nil {
		return fmt.Errorf("make %s: %w", folder, err)
	}
	return f.proveOwn(folder, local)
}

// leftover reports whether a folder that is not closed is what a power cut left of one of ours: empty, and of an owner who is trusted.
func (f *Folder) leftover(local string) bool {
	entries, err := f.entries(local)
	return err == nil && len(entries) == 0 && f.ownerIsOurs(local)
}
