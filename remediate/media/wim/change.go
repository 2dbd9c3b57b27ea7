package wim

import (
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode/utf16"
)

// Op is what a [Change] does.
type Op string

// The operations.
const (
	OpPut    Op = "put"    // add a file, or replace the content of the one there; makes the directories above it
	OpDelete Op = "delete" // remove a file, or a directory with everything in it
	OpMkdir  Op = "mkdir"  // make a directory and those above it; one that is there is left alone
)

// Change is one change to an image. Paths are from the root of the image, with slashes or backslashes; names that
// exist are matched without regard to case and keep their spelling.
type Change struct {
	Op   Op
	Path string
	// Open gives the content of an OpPut. It is called twice: once to plan (for size and hash), once to write; a
	// content that changed in between is an error.
	Open func() (io.ReadCloser, error)
	// Optional makes an OpDelete of something that is not there no error.
	Optional bool
}

// PutBytes is an OpPut of content in memory.
func PutBytes(path string, content []byte) Change {
	return Change{Op: OpPut, Path: path, Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }}
}

// PutFile is an OpPut of a file of this machine.
func PutFile(path, name string) Change {
	return Change{Op: OpPut, Path: path, Open: func() (io.ReadCloser, error) { return os.Open(name) }}
}

// PutFS is an OpPut of a file of a file system, for example another image or an ISO.
func PutFS(path string, fsys fs.FS, name string) Change {
	return Change{Op: OpPut, Path: path, Open: func() (io.ReadCloser, error) { return fsys.Open(name) }}
}

// Delete is an OpDelete.
func Delete(path string) Change { return Change{Op: OpDelete, Path: path} }

// Mkdir is an OpMkdir.
func Mkdir(path string) Change { return Change{Op: OpMkdir, Path: path} }

// Measure reads the content once.
func (c Change) measure(ctx context.Context) (int64, digest, error) {
	if c.Open == nil {
		return 0, digest{}, fmt.Errorf("put %q: no content given", c.Path)
	}
	r, err := c.Open()
	if err != nil {
		return 0, digest{}, fmt.Errorf("open content of %q: %w", c.Path, err)
	}
	defer r.Close()
	sum := sha1.New()
	n, err := io.CopyBuffer(onlyWriter{sum}, contextReader{ctx, r}, make([]byte, 256<<10))
	if err != nil {
		return 0, digest{}, fmt.Errorf("read content of %q: %w", c.Path, err)
	}
	if n == 0 {
		return 0, digest{}, nil
	}
	return n, digest(sum.Sum(nil)), nil
}

type onlyWriter struct{ io.Writer }

// CheckName refuses what Windows could not open.
func checkName(name, path string) error {
	bad := ""
	switch {
	case name == "." || name == "..":
		bad = "it is a relative name"
	case strings.ContainsAny(name, `<>:"|?*`) || strings.IndexFunc(name, func(r rune) bool { return r < 32 }) >= 0:
		bad = `it contains one of < > : " | ? * or a control character`
	case strings.HasSuffix(name, ".") || strings.HasSuffix(name, " "):
		bad = "it ends in a dot or a space"
	case len(utf16.Encode([]rune(name))) > 255:
		bad = "it is longer than 255 characters"
	default:
		return nil
	}
	return fmt.Errorf("path %q: Windows cannot use the name %q: %s", path, name, bad)
}
