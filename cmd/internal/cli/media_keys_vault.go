package cli

import (
	"context"
	"strings"

	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/internal/desk/keys"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
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
	front, err := v.a.Desk()
	if err != nil {
		return nil, err
	}
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
	refs, names, missing, err := keys.Held(ctx, front, machines, known)
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
	bundle := make([]keybundle.Key, len(revealed))
	for i, k := range revealed {
		bundle[i] = keybundle.Key{Machine: names[i], ID: bundleID(k.ID), Password: secret.New(k.Password.Reveal())}.Normal()
	}
	return distinct(bundle), nil
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
