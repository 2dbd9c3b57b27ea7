//go:build unix

package usb

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// deviceNumber is the number of the device that a name leads to, links followed; empty where it is none.
func deviceNumber(name string) string {
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		return ""
	}
	return numberOf(&st)
}

// openNumber is the number of an open device.
func openNumber(f *os.File) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", fmt.Errorf("look at the open device: %w", err)
	}
	return numberOf(&st), nil
}

func numberOf(st *unix.Stat_t) string {
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFBLK && kind != unix.S_IFCHR {
		return ""
	}
	return fmt.Sprintf("%d:%d", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))) //nolint:unconvert // not of 64 bits everywhere
}
