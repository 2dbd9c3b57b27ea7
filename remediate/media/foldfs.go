package media

import (
	"io/fs"
	"path"
	"strings"
)

// foldFS finds the names of a file system without regard to case, as Windows and firmware do.
type foldFS struct{ fs.FS }

// Open implements fs.FS.
func (f foldFS) Open(name string) (fs.File, error) {
	file, err := f.FS.Open(name)
	if err == nil || !fs.ValidPath(name) {
		return file, err
	}
	at := "."
	for part := range strings.SplitSeq(name, "/") {
		entries, readErr := fs.ReadDir(f.FS, at)
		if readErr != nil {
			return nil, err
		}
		found := ""
		for _, e := range entries {
			if e.Name() == part || found == "" && strings.EqualFold(e.Name(), part) {
				found = e.Name()
			}
		}
		if found == "" {
			return nil, err
		}
		at = path.Join(at, found)
	}
	return f.FS.Open(at)
}

func isFile(fsys fs.FS, name string) bool {
	st, err := fs.Stat(fsys, name)
	return err == nil && st.Mode().IsRegular()
}

// readAll reads a file of at most limit bytes.
func readAll(fsys fs.FS, name string, limit int64) ([]byte, error) {
	st, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if st.Size() > limit {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errTooLarge}
	}
	return fs.ReadFile(fsys, name)
}
