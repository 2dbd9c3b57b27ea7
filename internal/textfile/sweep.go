package textfile

import (
	"os"
	"path/filepath"
	"time"
)

// Sweep removes from a folder what writers left there that were killed: files .fleetmend-*.tmp that nobody holds any more. It
// is for those who write files so large that a forgotten half of one matters. What cannot be removed stays.
func Sweep(dir string) {
	left, err := filepath.Glob(filepath.Join(dir, ".fleetmend-*.tmp"))
	if err != nil {
		return
	}
	for _, name := range left {
		// One that has just been made may not be held yet.
		if st, err := os.Lstat(name); err == nil && st.Mode().IsRegular() && time.Since(st.ModTime()) > time.Minute && forsaken(name) {
			_ = os.Remove(name)
		}
	}
}
