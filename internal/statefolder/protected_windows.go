package statefolder

import (
	"errors"

	"golang.org/x/sys/windows"
)

func protected(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }
