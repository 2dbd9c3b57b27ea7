//go:build !windows

package program

import (
	"errors"

	"github.com/fleetmend/fleetmend/remediate/media/pe"
)

// Drives: only Windows has drives with letters; elsewhere the program is tried out with --root.
func (machine) Drives() []string { return nil }

// Firmware is not read elsewhere.
func (machine) Firmware() []byte { return nil }

// LoadHive: only Windows loads registry files.
func (machine) LoadHive(string) (pe.Hive, error) {
	return nil, errors.New("not possible here: only Windows loads registry files")
}
