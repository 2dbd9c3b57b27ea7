package usb

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Find returns the disk of that path, of that device (a link to it, such as /dev/disk/by-id/..., is followed) or, if there
// is just one, of that serial number. A volume is refused with the name of its disk: always the whole disk is written.
func Find(disks []Disk, name string) (Disk, error) {
	number := deviceNumber(name)
	var found []Disk
	for _, d := range disks {
		if strings.EqualFold(d.Path, name) {
			return d, nil
		}
		if number != "" && d.Number == number {
			return d, nil
		}
		if d.Serial != "" && strings.EqualFold(d.Serial, name) {
			found = append(found, d)
		}
	}
	switch len(found) {
	case 0:
		if d, ok := ofVolume(disks, name); ok {
			return Disk{}, hint.Wrapf(fmt.Errorf("%q is a volume on %s, and a whole disk is written", name, d.Path), "If all of that disk may be lost, name it: %s", d.Path)
		}
		return Disk{}, hint.Wrapf(fmt.Errorf("there is no disk %q", name), "`fleetmend media disks --all` lists what is plugged in")
	case 1:
		return found[0], nil
	}
	return Disk{}, hint.Wrap(fmt.Errorf("%d disks have the serial number %q", len(found), name), "name the disk by its path")
}

// ofVolume finds the disk on which a volume lies: /dev/sdb1, a link to it, E: or E:\.
func ofVolume(disks []Disk, name string) (Disk, bool) {
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real
	}
	name = strings.TrimSuffix(name, `\`)
	for _, d := range disks {
		for _, v := range d.Volumes {
			if v.Name != "" && (strings.EqualFold(name, v.Name) || strings.EqualFold(name, "/dev/"+v.Name)) {
				return d, true
			}
		}
	}
	return Disk{}, false
}
