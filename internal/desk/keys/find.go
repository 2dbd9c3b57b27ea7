package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/inventory"
)

// Query says which keys to find.
type Query struct {
	Text string // at least 8 digits of a key ID, a host name (with * at its end), a serial number or a user
	Now  bool   // ask Active Directory for the digits first
}

// Found is what was found.
type Found struct {
	Keys      []Key             // the newest first
	Colliding []bitlocker.KeyID // where the digits fit more than one key: all that they fit
	Beginning bool              // nothing is called so: what was found begins with the text
}

// leastBeginning is how much of a name must be known for a search by its beginning.
const leastBeginning = 3

// Find finds keys by what an operator has: digits from the recovery screen, host, serial number, user; the beginning of a host name or
// serial number where nothing is called so. It needs no secret.
// Where nothing fits, the error is bitlocker.ErrNotStored with the places that were looked at.
func Find(ctx context.Context, d *desk.Desk, q Query) (Found, error) {
	vault, err := open(ctx, d)
	if err != nil {
		return Found{}, err
	}
	if q.Now {
		if err := findNow(ctx, d, vault, q.Text); err != nil {
			return Found{}, err
		}
	}
	query := bitlocker.ParseQuery(q.Text)
	found, err := vault.Search(ctx, query)
	if err != nil {
		return Found{}, err
	}
	if !slices.ContainsFunc(found.KeyIDs(), query.KeyID.Matches) {
		known, failed := machinesOf(ctx, d, q.Text)
		if failed != nil {
			return Found{}, failed
		}
		for _, m := range known {
			query.Machines = append(query.Machines, Identities(m)...)
		}
		found, err = vault.Find(ctx, query)
	}
	out := Found{}
	if text := strings.TrimSpace(q.Text); notStored(err) && len(text) >= leastBeginning && !strings.HasSuffix(text, "*") {
		begun, none := vault.Find(ctx, bitlocker.Query{Host: text + "*", Serial: text + "*"})
		if none == nil {
			found, err, out.Beginning = begun, nil, true
		} else if !notStored(none) {
			return Found{}, none
		}
	}
	if err != nil {
		return Found{}, err
	}
	if out.Keys, err = joined(ctx, d, vault, found.Matches); err != nil {
		return Found{}, err
	}
	if found.Collision(query.KeyID) {
		for _, id := range found.KeyIDs() {
			if query.KeyID.Matches(id) {
				out.Colliding = append(out.Colliding, id)
			}
		}
	}
	return out, nil
}

// finder is a source that finds keys by their first digits.
type finder interface {
	Find(ctx context.Context, prefix bitlocker.Prefix, dn string) ([]bitlocker.KeyRef, error)
}

// findNow asks the directory for the digits of a key and takes in what it knows.
func findNow(ctx context.Context, d *desk.Desk, vault *bitlocker.Vault, text string) error {
	prefix, err := bitlocker.ParsePrefix(text)
	if err != nil {
		return hint.Mistake(fmt.Errorf("--now asks for the digits of a key: %w", err), "the recovery screen shows them; keys of a host are found after `fleetmend keys sync`")
	}
	sources, err := d.Connect.KeySources(ctx, "ad")
	if err != nil {
		return err
	}
	for _, source := range sources {
		asked, ok := source.(finder)
		if !ok {
			continue
		}
		refs, err := asked.Find(ctx, prefix, "")
		if notStored(err) { // it may be known from elsewhere
			d.Tell(err.Error())
			continue
		}
		if err == nil {
			err = vault.Add(ctx, refs...)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// maxJoined bounds the machines of one user whose keys are looked up.
const maxJoined = 500

func machinesOf(ctx context.Context, d *desk.Desk, text string) ([]inventory.Machine, error) {
	if strings.HasSuffix(strings.TrimSpace(text), "*") {
		return nil, nil
	}
	store, err := d.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	found, err := store.Lookup(ctx, text)
	return found[:min(len(found), maxJoined)], err
}

// joined makes keys of matches and adds what the inventory knows of the machine, where that is one machine.
func joined(ctx context.Context, d *desk.Desk, vault *bitlocker.Vault, matches []bitlocker.Match) ([]Key, error) {
	synced, err := vault.Synced(ctx)
	if err != nil {
		return nil, err
	}
	found := together(matches, synced)
	machines := make([]bitlocker.Machine, len(matches))
	for i, m := range matches {
		machines[i] = m.Machine
	}
	index, err := indexOf(ctx, d, machines)
	if err != nil {
		return nil, err
	}
	for i := range found {
		k := &found[i]
		for _, p := range k.Places {
			if known, ok := index.find(p.Machine); ok {
				k.Owner, k.Site = known.Owner, known.Site
				if k.Serial == "" {
					k.Serial = known.Serial
				}
				break
			}
		}
	}
	return found, nil
}

// SeveralError says that the digits fit several keys; more digits from the recovery screen decide. Nothing was done.
type SeveralError struct {
	Prefix bitlocker.Prefix
	IDs    []bitlocker.KeyID
}

func (e *SeveralError) Error() string {
	lines := make([]string, len(e.IDs))
	for i, id := range e.IDs {
		lines[i] = "  " + string(id)
	}
	return fmt.Sprintf("%d keys begin with %s:\n%s", len(e.IDs), e.Prefix, strings.Join(lines, "\n"))
}

// one finds the only key whose ID begins with the digits, or the one that came without an ID, by what stands for it. Errors
// are a *SeveralError, or bitlocker.ErrNotStored.
func one(ctx context.Context, vault *bitlocker.Vault, text string) (Key, error) {
	if id := bitlocker.KeyID(strings.ToUpper(strings.TrimSpace(text))); id != "" && !id.Known() {
		found, err := vault.Find(ctx, bitlocker.Query{KeyID: id.Prefix()})
		if err != nil {
			return Key{}, err
		}
		for _, k := range together(found.Matches, nil) {
			if k.ID == id {
				return k, nil
			}
		}
		return Key{}, hint.Wrap(fmt.Errorf("no key is known as %s: %w", id, bitlocker.ErrNotStored), "`fleetmend keys find HOST` lists the keys of a machine")
	}
	prefix, err := bitlocker.ParsePrefix(text)
	if err != nil {
		return Key{}, hint.Mistake(err, "the recovery screen shows the key ID; `fleetmend keys find HOST` lists the keys of a machine")
	}
	found, err := vault.Find(ctx, bitlocker.Query{KeyID: prefix})
	if err != nil {
		return Key{}, err
	}
	if ids := found.KeyIDs(); len(ids) > 1 {
		return Key{}, hint.Mistake(&SeveralError{prefix, ids}, "give more digits from the recovery screen; nothing was shown")
	}
	return together(found.Matches, nil)[0], nil
}

var errEnough = errors.New("enough")

// IDs completes the ID of a key: the ID, a tab, whose it is.
func IDs(ctx context.Context, d *desk.Desk, prefix string) ([]string, error) {
	vault, err := d.Vault(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	err = vault.All(ctx, func(m bitlocker.Match) error {
		if strings.HasPrefix(string(m.ID), strings.ToUpper(prefix)) {
			ids = append(ids, string(m.ID)+"\t"+m.Machine.Label())
		}
		if len(ids) == 100 {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return ids, err
}
