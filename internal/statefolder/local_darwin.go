package statefolder

import "golang.org/x/sys/unix"

// kindOf names the file system where the kernel does not call it local (statfs(2), MNT_LOCAL).
func kindOf(path string) (string, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return "", err
	}
	if s.Flags&unix.MNT_LOCAL != 0 {
		return "", nil
	}
	return unix.ByteSliceToString(s.Fstypename[:]), nil
}
