package desk

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/internal/statefolder"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// The files of the state folder.
const (
	inventoryFile = "inventory.db"
	journalFile   = "journal.db"
	vaultFile     = "keys.db"
	auditFile     = "audit.db"
)

// ready brings the state folder to the version of this program before the first store is opened.
func (d *Desk) ready(ctx context.Context, dir string) error {
	if d.upgraded {
		return nil
	}
	if err := statefolder.Local(dir); err != nil {
		return err
	}
	if statefolder.ReadOnly(dir) { // each store is read from a copy, which is brought to this version
		d.Tell("remark: nothing can be written in " + dir + "; its state is shown as it lies there, and nothing in it changes")
		d.upgraded = true
		return nil
	}
	done, err := statefolder.Upgrade(ctx, dir, stateFiles(dir), func(ctx context.Context) (func() error, error) {
		return journal.Quiet(ctx, filepath.Join(dir, journalFile))
	})
	if err != nil {
		return err
	}
	if len(done.Files) > 0 {
		d.Tell("remark: the state folder was brought to this version (" + strings.Join(done.Files, ", ") + "); as it was before it lies in " + done.Copies)
	}
	d.upgraded = true
	return nil
}

// HasVault reports whether there are recovery keys, without making a vault for the asking.
func (d *Desk) HasVault() bool {
	dir, err := d.Folder()
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join(dir, vaultFile))
	return err == nil
}

// stateFiles are the stores of a folder, each with what brings it up to date.
func stateFiles(dir string) []statefolder.File {
	file := func(name string, schema func() (int, int), migrate func(context.Context, string) error) statefolder.File {
		application, version := schema()
		return statefolder.File{Name: name, ApplicationID: application, Version: version, Migrate: migrate}
	}
	log := filepath.Base(audit.Current(filepath.Join(dir, auditFile)))
	files := []statefolder.File{
		file(inventoryFile, inventory.Schema, func(ctx context.Context, path string) error {
			return closed(inventory.Open(ctx, path))
		}),
		file(journalFile, journal.Schema, func(ctx context.Context, path string) error {
			return closed(journal.Open(ctx, path))
		}),
		file(vaultFile, bitlocker.Schema, func(ctx context.Context, path string) error {
			return closed(bitlocker.OpenVault(ctx, path, bitlocker.Options{}))
		}),
		file(log, audit.Schema, func(ctx context.Context, path string) error {
			return closed(audit.Open(ctx, path, audit.Operator{OSUser: "fleetmend"})) // writes no entry
		}),
	}
	files[3].Beside = []string{log + ".head"}
	return files
}

// closed opens nothing for longer than its migration takes.
func closed[T interface{ Close() error }](store T, err error) error {
	if err != nil {
		return err
	}
	return errors.Join(err, store.Close())
}
