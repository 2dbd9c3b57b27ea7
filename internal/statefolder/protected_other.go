//go:build !windows

package statefolder

import (
	"errors"
	"syscall"
)

func protected(err error) bool { return errors.Is(err, syscall.EROFS) }
