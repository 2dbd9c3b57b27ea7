package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/hint"
)

// Choice names one key.
type Choice struct {
	ID     string // at least 8 digits
	Source string // believe this one, where several hold the key
	Which  int    // the place to believe, from 1, where one key ID has several passwords; 0: they must agree
}

// Revealed is one key with its password.
type Revealed struct {
	bitlocker.RecoveryKey
	Agree   []string // sources that hold the same password, that of the key first
	Unasked []string // sources that list the key and were not asked for its password
	Rotated bool     // its machine has removed the protector
}

// Reveal gives the password of one key, from the vault or, where the vault does not hold it, from its source now. It is in
// the audit before. Without a reason it returns a question.NeededError after it has found the key. Different passwords for
// one key ID, in two sources or in one, give a bitlocker.AmbiguousError: Which then names the place.
func Reveal(ctx context.Context, d *desk.Desk, c Choice, reason string, how desk.Access) (Revealed, error) {
	vault, err := open(ctx, d)
	if err != nil {
		return Revealed{}, err
	}
	key, err := one(ctx, vault, c.ID)
	if err != nil {
		return Revealed{}, err
	}
	places, err := c.places(key)
	if err != nil {
		return Revealed{}, err
	}
	if err := whyReveal(reason); err != nil {
		return Revealed{}, err
	}
	out := Revealed{Rotated: !key.Rotated.IsZero()}
	held := sealed(places)
	if len(held) > 0 {
		if err := d.Unlock(ctx, how); err != nil {
			return Revealed{}, err
		}
		if out.RecoveryKey, err = vault.RevealAgreed(ctx, reason, held...); err != nil {
			return Revealed{}, err
		}
		for _, ref := range held {
			out.Agree = appendNew(out.Agree, ref.Source)
		}
	} else if out.RecoveryKey, err = fromSources(ctx, d, vault, audit.Reveal, places, reason); err != nil {
		return Revealed{}, err
	} else {
		out.Agree = []string{out.Source}
	}
	for _, p := range key.Places {
		if !slices.Contains(out.Agree, p.Source) {
			out.Unasked = appendNew(out.Unasked, p.Source)
		}
	}
	return out, nil
}

// places are those that a choice leaves.
func (c Choice) places(key Key) ([]Place, error) {
	places := key.Places
	if c.Source != "" {
		places = slices.DeleteFunc(slices.Clone(places), func(p Place) bool { return p.Source != c.Source })
		if len(places) == 0 {
			return nil, hint.Mistake(fmt.Errorf("%s does not know key %s", c.Source, key.ID), "it is known to %s", strings.Join(key.Sources(), ", "))
		}
	}
	switch {
	case c.Which == 0:
		return places, nil
	case c.Which < 0 || c.Which > len(places):
		return nil, hint.Mistake(fmt.Errorf("--which %d: key %s is kept in %d places", c.Which, key.ID, len(places)), "take a number from 1 to %d", len(places))
	}
	return places[c.Which-1 : c.Which], nil
}

// fromSources asks the places for a password in their order, until one gives it.
func fromSources(ctx context.Context, d *desk.Desk, vault *bitlocker.Vault, action audit.Action, places []Place, reason string) (bitlocker.RecoveryKey, error) {
	var errs []error
	for _, p := range places {
		source, err := d.Connect.KeySource(ctx, p.Source)
		if err == nil {
			var key bitlocker.RecoveryKey
			if key, err = vault.ReadFrom(ctx, action, source, p.KeyRef, reason); err == nil {
				return key, nil
			}
		}
		errs = append(errs, err)
	}
	return bitlocker.RecoveryKey{}, errors.Join(errs...)
}

// sealed are the references of places whose passwords are in the vault.
func sealed(places []Place) []bitlocker.KeyRef {
	var out []bitlocker.KeyRef
	for _, p := range places {
		if p.State == bitlocker.StateSealed {
			out = append(out, p.KeyRef)
		}
	}
	return out
}

func appendNew(list []string, text string) []string {
	if slices.Contains(list, text) {
		return list
	}
	return append(list, text)
}
