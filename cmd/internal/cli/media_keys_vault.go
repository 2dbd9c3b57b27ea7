package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/media/keybundle"
)

// keysOfVault is what --keys says for the vault; a file of this name is ./vault.
const keysOfVault = "vault"

// keyVault gives the keys that the vault holds. Each is in the audit before it is given.
type keyVault struct {
	a      *app
	access access
	reason string
}

// Keys implements [keySource]. Machines of which the vault holds no key are named, for some are not encrypted.
func (v keyVault) Keys(ctx context.Context, machines []string) ([]keybundle.Key, error) {
	d, err := v.a.openDesk(ctx)
	if err != nil {
		return nil, err
	}
	store, err := v.a.openStore(ctx)
	if err != nil {
		return nil, err
	}
	known, err := store.Lookup(ctx, machines...)
	if err != nil {
		return nil, err
	}
	refs, names, missing, err := heldKeys(ctx, d, machines, known)
	if err != nil {
		return nil, err
	}
	if len(refs) == 0 {
		return nil, coded(exitNothing, hint.Wrap(errorf("the vault holds no password for %s", someOf(missing)),
			"fleetmend keys sync --passwords brings passwords into the vault; fleetmend keys find shows what is known"))
	}
	if v.reason, err = v.a.reasonFor(ctx, v.reason); err != nil {
		return nil, err
	}
	if err := v.a.unlock(ctx, d, v.access); err != nil {
		return nil, err
	}
	revealed, err := d.RevealAll(ctx, audit.Media, v.reason, refs...)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		v.a.say("no key in the vault: %s", someOf(missing))
	}
	keys := make([]keybundle.Key, len(revealed))
	for i, k := range revealed {
		keys[i] = keybundle.Key{Machine: names[i], ID: bundleID(k.ID), Password: secret.New(k.Password.Reveal())}.Normal()
	}
	return distinct(keys), nil
}

// heldKeys finds the keys of machines by name, with what the inventory knows of those, in the order of the names.
func heldKeys(ctx context.Context, d *desk, machines []string, known []inventory.Machine) (refs []bitlocker.KeyRef, names, missing []string, err error) {
	for _, name := range machines {
		query := bitlocker.Query{Machines: []bitlocker.Machine{{Name: name}}}
		for _, m := range known {
			if strings.EqualFold(m.Name, name) {
				query.Machines = append(query.Machines, keyMachines(m)...)
			}
		}
		found, err := d.Find(ctx, query)
		if err != nil && !errors.Is(err, bitlocker.ErrNotStored) {
			return nil, nil, nil, err
		}
		held := sealed(found.Matches)
		if len(held) == 0 {
			missing = append(missing, name)
		}
		for _, ref := range held {
			refs, names = append(refs, ref), append(names, name)
		}
	}
	return refs, names, missing, nil
}

// distinct leaves a key out that several sources hold alike.
func distinct(keys []keybundle.Key) (out []keybundle.Key) {
	for _, k := range keys {
		twice := false
		for _, o := range out {
			twice = twice || o.Machine == k.Machine && o.ID == k.ID && o.Password.Reveal() == k.Password.Reveal()
		}
		if !twice {
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
	return strings.Join(names[:most], ", ") + " and " + counted(len(names)-most, "other", "others")
}
