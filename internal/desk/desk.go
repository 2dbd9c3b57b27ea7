// Package desk is what an operator works at: the stores, the settings, who he is, and what can be asked of him. The use cases
// stand on it, in packages of their own below it (desk/runs, desk/keys, ...); faces (command line, screen) stand on those.
//
// [New] makes a [Desk]; [Desk.Inventory], [Desk.Journal] and [Desk.Vault] open what a use case needs, once. The desk prints
// nothing, reads no flag and no environment, and never asks anybody by itself: what turns up in the middle goes through the
// [question.Asker] it was given.
package desk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/connect"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/internal/settings"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/media/usb"
)

// Options say what a desk is made of.
type Options struct {
	Settings settings.Settings
	State    string                 // folder of the stores; "": that of the settings
	Usual    func() (string, error) // the folder where neither says one; nil: there is none
	Ask      question.Asker         // nil: nobody can be asked
	Tell     func(string)           // a line for whoever waits; nil: dropped
	Disks    usb.System             // nil: the disks of this computer
	Logger   *slog.Logger           // nil: none
	Version  string                 // of fleetmend
	Same     []string               // global flags to repeat in a command that is proposed: --config FILE
	Carry    []commandline.Carry    // flags to repeat behind some of those commands
	Now      func() time.Time
}

// Desk gives the stores, each opened when it is first needed, and what connects to the world. It is safe for concurrent use.
type Desk struct {
	Options
	Connect *connect.Connector

	mu       sync.Mutex
	upgraded bool
	store    *inventory.Store
	journal  *journal.Journal
	vault    *bitlocker.Vault
	audit    *audit.Log
	owns     []io.Closer
}

// New makes a desk. It opens nothing.
func New(o Options) (*Desk, error) {
	if o.Ask == nil {
		o.Ask = question.Nobody{}
	}
	if o.Tell == nil {
		o.Tell = func(string) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	d := &Desk{Options: o}
	d.Connect = connect.New(connect.Options{
		Settings: o.Settings, Ask: o.Ask, Tell: o.Tell, Logger: o.Logger, Version: o.Version,
		Machine: func(ctx context.Context, id string) (inventory.Machine, error) {
			store, err := d.Inventory(ctx)
			if err != nil {
				return inventory.Machine{}, err
			}
			return store.Machine(ctx, id)
		},
		Ledger: d.counting,
	})
	return d, nil
}

// Program is how the process was called, for the commands that are proposed.
func (d *Desk) Program() commandline.Program {
	return commandline.Program{Same: d.Same, Carry: d.Carry}
}

// At is the desk for another state folder; it is closed with d.
func (d *Desk) At(folder string) (*Desk, error) {
	o := d.Options
	o.State, o.Same = folder, d.Program().At(folder).Same
	at, err := New(o)
	if err == nil {
		d.Own(at)
	}
	return at, err
}

// Folder returns the folder of the stores and makes it, readable by its owner only.
func (d *Desk) Folder() (string, error) {
	dir := d.State
	if dir == "" {
		dir = d.Settings.State
	}
	if dir == "" {
		var err error
		if d.Usual == nil {
			return "", hint.Mistake(errors.New("no folder for the inventory and the journal"), "give one with --state-dir")
		}
		if dir, err = d.Usual(); err != nil {
			return "", err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", hint.Wrap(fmt.Errorf("make the state folder: %w", err), "give a folder that you may write to with --state-dir")
	}
	return dir, nil
}

// opened returns *held, or what open makes of the file name in the state folder.
func opened[T any](ctx context.Context, d *Desk, held **T, name, what string, open func(path string) (*T, error)) (*T, error) {
	if *held != nil {
		return *held, nil
	}
	dir, err := d.Folder()
	if err != nil {
		return nil, err
	}
	if err := d.ready(ctx, dir); err != nil {
		return nil, err
	}
	made, err := open(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("open the %s: %w", what, err)
	}
	*held = made
	if closer, ok := any(made).(io.Closer); ok {
		d.owns = append(d.owns, closer)
	}
	return made, nil
}

// Inventory opens the machines.
func (d *Desk) Inventory(ctx context.Context) (*inventory.Store, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return opened(ctx, d, &d.store, inventoryFile, "inventory", func(path string) (*inventory.Store, error) { return inventory.Open(ctx, path) })
}

// Journal opens the record of runs.
func (d *Desk) Journal(ctx context.Context) (*journal.Journal, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return opened(ctx, d, &d.journal, journalFile, "journal", func(path string) (*journal.Journal, error) { return journal.Open(ctx, path) })
}

// Audit opens the record of who was shown what.
func (d *Desk) Audit(ctx context.Context) (*audit.Log, error) {
	operator, err := d.Auditor()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return opened(ctx, d, &d.audit, auditFile, "audit", func(path string) (*audit.Log, error) {
		log, err := audit.Open(ctx, path, operator)
		if err == nil {
			log.Tell(func(text string) { d.Tell("remark: " + text) })
		}
		return log, err
	})
}

// Vault opens the recovery keys. It is locked: see [Desk.Unlock].
func (d *Desk) Vault(ctx context.Context) (*bitlocker.Vault, error) {
	log, err := d.Audit(ctx)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return opened(ctx, d, &d.vault, vaultFile, "key vault", func(path string) (*bitlocker.Vault, error) {
		return bitlocker.OpenVault(ctx, path, bitlocker.Options{Audit: log})
	})
}

// Operator is who works at the desk, for the journal: the user of the operating system.
func (d *Desk) Operator() string {
	if who, err := user.Current(); err == nil {
		return who.Username
	}
	return "unknown"
}

// Auditor is who the audit names: the user of the operating system, and who the directory is asked as. An audit without a name
// is refused.
func (d *Desk) Auditor() (audit.Operator, error) {
	who, err := user.Current()
	if err != nil {
		return audit.Operator{}, hint.Wrap(fmt.Errorf("find out who is logged on: %w", err), "the audit needs a name; the account must be known to this computer")
	}
	host, err := os.Hostname()
	if err != nil {
		return audit.Operator{}, fmt.Errorf("find out the name of this computer: %w", err)
	}
	return audit.Operator{OSUser: who.Username, Identity: d.Settings.Directory.User, Host: host}, nil
}

// Own closes something with the desk.
func (d *Desk) Own(closer io.Closer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owns = append(d.owns, closer)
}

// Close ends all that was opened here, last first.
func (d *Desk) Close() error {
	errs := []error{d.Connect.Close()}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, closer := range slices.Backward(d.owns) {
		errs = append(errs, closer.Close())
	}
	d.owns = nil
	return errors.Join(errs...)
}
