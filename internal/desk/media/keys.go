package media

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/bitlocker/csv"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/keys"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/media/keybundle"
)

// FromVault is [KeysRequest.From] for the vault; a file of this name is ./vault.
const FromVault = "vault"

const maxKeyFile = 64 << 20

// KeysRequest says which recovery keys go along, and why.
type KeysRequest struct {
	From           string        // FromVault, a file that keys import takes, or empty for none
	Machines       []string      // only of these; without any: of those of the run, or all of a file
	PassphraseFile string        // of the keys on the medium; empty: it is asked for
	Expire         time.Duration // after which they are not used any more
	Reason         string        // why keys leave the vault; empty: it is asked for
	Vault          desk.Access
}

// bundle collects the keys of machines.
func (k KeysRequest) bundle(ctx context.Context, d *desk.Desk, machines []wanted, at time.Time) (*keybundle.Bundle, secret.String, error) {
	none := secret.String{}
	if k.Expire <= 0 {
		return nil, none, hint.Mistake(fmt.Errorf("--keys-expire %s is no time from now", k.Expire), "for example 72h")
	}
	if k.From == "" {
		return nil, none, nil
	}
	if k.From == FromVault && len(machines) == 0 {
		return nil, none, hint.Mistake(errors.New("say whose keys are to leave the vault"), "give --run, or --machines with their names")
	}
	passphrase, err := k.passphrase(ctx, d)
	if err == nil {
		err = keybundle.CheckPassphrase(passphrase) // before a key is revealed
	}
	if err != nil {
		return nil, none, err
	}
	var list []keybundle.Key
	if k.From == FromVault {
		list, err = k.ofVault(ctx, d, machines)
	} else {
		list, err = k.ofFile(ctx, machines)
	}
	if err != nil {
		return nil, none, err
	}
	if len(list) == 0 {
		return nil, none, hint.Wrap(&NothingError{k.From + " has no key of the selected machines"}, "compare the column machine with --machines")
	}
	if at.IsZero() {
		at = d.Now().UTC().Truncate(time.Minute)
	}
	return &keybundle.Bundle{Made: at, Expires: at.Add(k.Expire), Keys: list}, passphrase, nil
}

func (k KeysRequest) passphrase(ctx context.Context, d *desk.Desk) (secret.String, error) {
	if k.PassphraseFile != "" {
		return d.Connect.Secret(k.PassphraseFile, "--passphrase-file names a file with the passphrase in its first line")
	}
	q := question.Question{ID: "media.passphrase", Kind: question.NewSecret, Text: "Passphrase of the keys, to be typed at the machines", Flag: "give --passphrase-file"}
	answer, err := d.Ask.Ask(ctx, q)
	if needed := (*question.NeededError)(nil); errors.As(err, &needed) {
		return secret.String{}, question.Needed(q, "the keys need a passphrase, and there is nobody to ask")
	}
	return answer.Secret, err
}

// ofVault gives the keys that the vault holds of machines, found by their IDs. Each is in the audit before it is given. Machines
// of which it holds none are named, for some are not encrypted.
func (k KeysRequest) ofVault(ctx context.Context, d *desk.Desk, machines []wanted) ([]keybundle.Key, error) {
	vault, err := d.Vault(ctx)
	if err != nil {
		return nil, err
	}
	if err := keys.Fold(ctx, d); err != nil { // what rotations did; a remark where the journal cannot tell, as in desk/keys
		if ctx.Err() != nil {
			return nil, err
		}
		d.Tell("remark: what rotations did could not be read from the journal, and is read the next time: " + err.Error())
	}
	store, err := d.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	var refs []bitlocker.KeyRef
	var of, missing []string
	for _, w := range machines {
		known, err := identified(ctx, store, w)
		if err != nil {
			return nil, err
		}
		held, err := heldBy(ctx, vault, w.name, known)
		if err != nil {
			return nil, err
		}
		if len(held) == 0 {
			missing = append(missing, w.name)
		}
		for _, ref := range held {
			refs, of = append(refs, ref), append(of, w.name)
		}
	}
	if len(refs) == 0 {
		return nil, hint.Wrap(&NothingError{"the vault holds no password for " + someOf(missing)},
			"`fleetmend keys sync --passwords` brings passwords into the vault; `fleetmend keys find HOST` shows what is known")
	}
	reason, err := d.Reason(ctx, k.Reason, "Why is the key needed", "a reason is needed before a key leaves the vault, and nothing was shown")
	if err != nil {
		return nil, err
	}
	if err := d.Unlock(ctx, k.Vault); err != nil {
		return nil, err
	}
	revealed, err := vault.RevealAll(ctx, audit.Media, reason, refs...)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		d.Tell("no key in the vault: " + someOf(missing))
	}
	list := make([]keybundle.Key, len(revealed))
	for i, key := range revealed {
		list[i] = keybundle.Key{Machine: of[i], ID: bundleID(key.ID), Password: secret.New(key.Password.Reveal())}.Normal()
	}
	return distinct(list), nil
}

// identified gives what the inventory knows of a machine: of its ID the one machine, of a name all that are called so.
func identified(ctx context.Context, store *inventory.Store, w wanted) ([]inventory.Machine, error) {
	if w.id != "" {
		m, err := store.Machine(ctx, w.id)
		if unknown := (*inventory.UnknownMachinesError)(nil); !errors.As(err, &unknown) {
			return []inventory.Machine{m}, err
		}
	}
	found, err := store.Lookup(ctx, w.name)
	return slices.DeleteFunc(found, func(m inventory.Machine) bool { return !strings.EqualFold(m.Name, w.name) }), err
}

// heldBy finds the keys of a machine whose passwords the vault holds. A key that is another machine's of the same name is not
// its key.
func heldBy(ctx context.Context, vault *bitlocker.Vault, name string, known []inventory.Machine) ([]bitlocker.KeyRef, error) {
	query := bitlocker.Query{Machines: []bitlocker.Machine{{Name: name}}}
	for _, m := range known {
		query.Machines = append(query.Machines, keys.Identities(m)...)
	}
	found, err := vault.Find(ctx, query)
	if err != nil && !errors.Is(err, bitlocker.ErrNotStored) {
		return nil, err
	}
	var held []bitlocker.KeyRef
	for _, match := range found.Matches {
		another := len(known) > 0 && !slices.ContainsFunc(known, func(m inventory.Machine) bool { return mayBe(match.Machine, m) })
		if match.State == bitlocker.StateSealed && !another {
			held = append(held, match.KeyRef)
		}
	}
	return held, nil
}

// mayBe reports whether the owner of a key can be a machine: one of the marks that both have is the same, or both have none.
func mayBe(owner bitlocker.Machine, m inventory.Machine) bool {
	compared := false
	for _, pair := range [][2]string{
		{owner.GUID, m.Claims.ObjectGUID}, {owner.DeviceID, m.Claims.EntraDeviceID}, {owner.DeviceID, m.Claims.ObjectGUID},
		{owner.Serial, m.Serial}, {owner.FQDN, m.FQDN},
	} {
		if pair[0] == "" || pair[1] == "" {
			continue
		}
		if compared = true; strings.EqualFold(pair[0], pair[1]) {
			return true
		}
	}
	return !compared
}

// ofFile reads the keys of machines from a table or text. A row of theirs that cannot be used is an error that names its line,
// never its digits.
func (k KeysRequest) ofFile(ctx context.Context, machines []wanted) ([]keybundle.Key, error) {
	data, err := textfile.Bytes(k.From, maxKeyFile)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	source, report, err := csv.Read(bytes.NewReader(data), csv.Options{Source: "csv:" + filepath.Base(k.From), File: k.From})
	if err != nil {
		return nil, fmt.Errorf("read keys of %s: %w", k.From, err)
	}
	among := func(name string) bool {
		return len(machines) == 0 || slices.ContainsFunc(machines, func(w wanted) bool { return strings.EqualFold(w.name, name) })
	}
	if len(machines) > 0 && report.Columns["name"]+report.Columns["fqdn"] == "" && len(report.Columns) > 0 {
		var names []string
		for _, w := range machines {
			names = append(names, w.name)
		}
		return nil, hint.Wrap(fmt.Errorf("read keys of %s: no column names the machine, so that the keys of %s cannot be picked", k.From, someOf(names)),
			"add a column machine to the table")
	}
	for _, bad := range report.BadRows {
		if bad.Machine == "" || among(bad.Machine) {
			return nil, hint.Wrap(fmt.Errorf("read keys of %s, %s", k.From, bad), "correct or remove the line")
		}
	}
	var list []keybundle.Key
	for _, ref := range source.Refs() {
		if !among(ref.Machine.Name) {
			continue
		}
		password, err := source.Password(ctx, ref)
		if err != nil {
			return nil, hint.Wrap(fmt.Errorf("read keys of %s: key %s of %s: %w", k.From, ref.ID, ref.Machine.Label(), err), "correct or remove the line")
		}
		key := keybundle.Key{Machine: ref.Machine.Name, ID: bundleID(ref.ID), Password: secret.New(password.Reveal())}.Normal()
		if err := key.Check(); err != nil {
			return nil, fmt.Errorf("read keys of %s: %w", k.From, err)
		}
		list = append(list, key)
	}
	return list, nil
}

// bundleID is the key ID that stands on a medium: empty where it is not known, so that the key is tried everywhere.
func bundleID(id bitlocker.KeyID) string {
	if !id.Known() {
		return ""
	}
	return string(id)
}

// distinct leaves a key out that several sources hold alike.
func distinct(list []keybundle.Key) (out []keybundle.Key) {
	for _, k := range list {
		if !slices.ContainsFunc(out, func(o keybundle.Key) bool {
			return o.Machine == k.Machine && o.ID == k.ID && o.Password.Equal(k.Password)
		}) {
			out = append(out, k)
		}
	}
	return out
}

// someOf names the first of many.
func someOf(names []string) string {
	const most = 8
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d others", strings.Join(names[:most], ", "), len(names)-most)
}
