//go:build !linux

package media

import (
	"errors"
	"os"
)

func pastCache(*os.File, bool) error { return errors.ErrUnsupported }
