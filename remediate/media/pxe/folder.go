package pxe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// folder is what is served: one directory, out of which no name and no link leads.
type folder struct{ root *os.Root }

// clean turns a path as firmware writes it (\Boot\BCD, /boot.wim, boot.wim) into a name inside the folder.
func clean(name string) (string, error) {
	name = strings.TrimLeft(strings.ReplaceAll(name, `\`, "/"), "/")
	name, _, _ = strings.Cut(name, "\x00")
	if name == "" || len(name) > 255 || !fs.ValidPath(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == ':' || r == 0x7f }) {
		return "", fmt.Errorf("%q is not the name of a file here: %w", clip(name), fs.ErrNotExist)
	}
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") {
			return "", fmt.Errorf("%q is hidden: %w", clip(name), fs.ErrNotExist)
		}
	}
	return name, nil
}

func clip(s string) string {
	if len(s) > 80 {
		s = s[:80]
	}
	return s
}

// open opens a regular file, without regard to case as firmware expects it.
func (f folder) open(name string) (*os.File, fs.FileInfo, string, error) {
	name, err := clean(name)
	if err != nil {
		return nil, nil, "", err
	}
	file, err := f.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		if folded, ok := f.fold(name); ok {
			name = folded
			file, err = f.root.Open(name)
		}
	}
	if err != nil {
		return nil, nil, name, err
	}
	st, err := file.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%q is not a file: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		file.Close()
		return nil, nil, name, err
	}
	return file, st, name, nil
}

func (f folder) fold(name string) (string, bool) {
	at := "."
	for part := range strings.SplitSeq(name, "/") {
		entries, err := fs.ReadDir(f.root.FS(), at)
		if err != nil {
			return "", false
		}
		next := ""
		for _, e := range entries {
			if strings.EqualFold(e.Name(), part) {
				next = e.Name()
				break
			}
		}
		if next == "" {
			return "", false
		}
		at = path.Join(at, next)
	}
	return at, true
}

// names lists the files at the top.
func (f folder) names() ([]string, error) {
	entries, err := fs.ReadDir(f.root.FS(), ".")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// loaders picks the first programs by their names; chosen ones come first and must exist.
func (f folder) loaders(chosen map[string]string) (map[string]string, error) {
	found := map[string]string{}
	for kind, names := range LoaderNames() {
		if c := chosen[kind]; c != "" {
			names = []string{c}
		}
		for _, n := range names {
			file, st, name, err := f.open(n)
			if err == nil {
				file.Close()
				if st.Size() == 0 {
					return nil, fmt.Errorf("loader %s for %s: %w", name, kind, errEmpty)
				}
				found[kind] = name
				break
			}
			if chosen[kind] != "" {
				return nil, hint.Wrapf(fmt.Errorf("open the loader for %s: %w", kind, err), "Put %s into the folder to serve, or name one that is there.", chosen[kind])
			}
		}
	}
	return found, nil
}
