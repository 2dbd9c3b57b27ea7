//go:build unix

package textfile

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// openFlags: a pipe without a writer must not hold the program up.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK

// syncFolder makes a rename durable. File systems that have no such call (EINVAL, ENOTSUP) keep it as they can.
func syncFolder(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return nil // one may write into a folder that one may not read
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}

// readByOthers says that the file of a secret is open to more people than its owner; empty for what is no file.
func readByOthers(name string) string {
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o077 == 0 {
		return ""
	}
	return fmt.Sprintf("others on this computer may read or change it (mode %04o); chmod 600 keeps it yours", info.Mode().Perm())
}
