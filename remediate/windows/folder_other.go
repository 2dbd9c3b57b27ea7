//go:build !windows

package windows

import (
	"fmt"
	"os"
	"syscall"
)

// Off Windows the rights are those of the file system: what others may write is not ours.
func (f *Folder) makeOwn(local string) error { return f.root.Mkdir(local, 0o700) }

func (f *Folder) unlink(local string) error { return f.root.Remove(local) }

func (f *Folder) proveOwn(folder, local string) error {
	info, err := f.root.Lstat(local)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be written by others (%v): refused", folder, info.Mode().Perm())
	}
	return nil
}

func (f *Folder) ownerIsOurs(local string) bool {
	info, err := f.root.Lstat(local)
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && (stat.Uid == 0 || int(stat.Uid) == os.Geteuid())
}

// Marks implements [Marker]: off Windows there are none.
func (f *Folder) Marks(string) (Marks, error) { return Marks{}, nil }

// Mark implements [Marker].
func (f *Folder) Mark(string, Marks) error { return nil }
