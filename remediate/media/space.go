package media

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// checkSpace refuses to begin what cannot end. Where the free space cannot be told, writing tries.
func checkSpace(dir string, need int64) error {
	free, err := freeSpace(dir)
	if err != nil || free < 0 || free >= need {
		return nil //nolint:nilerr // writing will tell
	}
	return outOfSpace(fmt.Errorf("there is no space in %s: %s are needed, %s are free", dir, bytesText(need), bytesText(free)))
}

func outOfSpace(err error) error { return hint.Wrap(err, "free some space, or write to another disk") }

// noSpace adds to an error of writing how much is needed, if the disk is full.
func noSpace(err error, need int64) error {
	if errors.Is(err, syscall.ENOSPC) {
		return outOfSpace(fmt.Errorf("the disk is full; the image needs %s: %w", bytesText(need), err))
	}
	return err
}
