// Package media are the use cases around boot media: build one, look at it, write sticks, hold them against their image, serve a
// folder to machines that start over the network, collect what they left.
//
// [Build] makes an image for a run or with playbooks, with the keys of the machines that need it, by their IDs; [Write] puts it
// onto disks that somebody agreed to lose; [Collect] records what comes back. What a person has to agree to is an argument:
// [Write] returns a [question.NeededError] for each disk and has touched none. The package prints nothing, knows no exit code, and
// writes no password into a file but sealed.
package media

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/remediate/media"
	"github.com/fleetmend/fleetmend/remediate/media/usb"
)

// NothingError says that there is nothing to do: no machine that needs a medium, no key that could go along, no result.
type NothingError struct{ Text string }

func (e *NothingError) Error() string { return e.Text }

// system are the disks that the desk works with.
func system(d *desk.Desk) usb.System {
	if d.Disks != nil {
		return d.Disks
	}
	return usb.Local()
}

// Disks lists all disks, also those that are never written.
func Disks(ctx context.Context, d *desk.Desk) ([]usb.Disk, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return system(d).Disks(ctx)
}

// Open opens an image, a WIM, a folder, or one of the disks, by path, link or serial number. Disks are read past the cache.
func Open(ctx context.Context, d *desk.Desk, name string) (*media.Medium, error) {
	st, err := os.Stat(name)
	if err == nil && (st.IsDir() || st.Mode().IsRegular()) {
		return media.OpenMedium(name)
	}
	all, wrong := Disks(ctx, d)
	if wrong == nil {
		var disk usb.Disk
		if disk, wrong = usb.Find(all, name); wrong == nil {
			r, closer, err := usb.Content(ctx, disk, system(d))
			if err != nil {
				return nil, err
			}
			return media.ReadMedium(disk.Path, r, disk.Size, closer)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("there is no image or folder of this name either: %w", wrong)
	}
	return media.OpenMedium(name) // a partition, or a device that is not listed
}

// Inspect says what a medium or a WIM is, can do and carries.
func Inspect(ctx context.Context, d *desk.Desk, name string) (*media.Inspection, error) {
	m, err := Open(ctx, d, name)
	if err != nil {
		return nil, err
	}
	in, err := m.Inspect(ctx)
	return in, errors.Join(err, m.Close())
}

// Verify compares every file of a medium with its list of hashes.
func Verify(ctx context.Context, d *desk.Desk, name string) (media.Check, error) {
	m, err := Open(ctx, d, name)
	if err != nil {
		return media.Check{}, err
	}
	c, err := m.Verify(ctx)
	return c, errors.Join(err, m.Close())
}
