// Package carried holds the program for boot media, fleetmend-pe.exe, that a release of fleetmend carries inside itself.
//
// [Program] is the one call. Builds with the tag embedagent carry the program for amd64 and arm64, made beforehand by
// .ci/agents (make release-agents); all other builds carry nothing, and their users compile it or name a file.
package carried

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// ErrNone means that this build carries no program for the architecture.
var ErrNone = errors.New("this build of fleetmend carries no fleetmend-pe.exe")

// Program writes the program for an architecture (amd64, arm64) to w.
func Program(w io.Writer, arch string) error { return unpack(w, programs, arch) }

func unpack(w io.Writer, from fs.FS, arch string) error {
	f, err := from.Open("fleetmend-pe_" + arch + ".exe.gz")
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w for %s", ErrNone, arch)
	}
	if err != nil {
		return fmt.Errorf("unpack fleetmend-pe for %s: %w", arch, err)
	}
	defer f.Close() //nolint:errcheck // only read
	packed, err := gzip.NewReader(f)
	if err == nil {
		_, err = io.Copy(w, packed) //nolint:gosec // it is part of this program
	}
	if err != nil {
		return fmt.Errorf("unpack fleetmend-pe for %s: %w", arch, err)
	}
	return nil
}
