package keys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/bitlocker/sheet"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/internal/desk/machines"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/inventory"
)

// SheetRequest says what is to be printed: keys by their IDs, or machines.
type SheetRequest struct {
	IDs      []string            // at least 8 digits each
	Machines []inventory.Machine // where no ID is given
	LAPS     bool                // the local administrators too
}

// Sheet is what is to be printed.
type Sheet struct {
	Entries     []sheet.Entry
	Missing     []string // machines and keys without a password, each with the reason where there is one
	WithoutLAPS []string // machines without a password of their local administrator, with the reason
}

// NothingHeldError says that no password is to be had of what was asked for. Nothing was printed.
type NothingHeldError struct{ Missing []string }

func (e *NothingHeldError) Error() string {
	const most = 8
	if n := len(e.Missing); n > most {
		return fmt.Sprintf("no password is to be had of %s and %d others", strings.Join(e.Missing[:most], ", "), n-most)
	}
	return "no password is to be had of " + strings.Join(e.Missing, ", ")
}

// wanted is a key that is to be printed, with its machine where the inventory knows it.
type wanted struct {
	key     Key
	machine inventory.Machine
	known   bool
}

// which tells keys apart: by the ID, and those that came without one by where they are kept as well, for two machines of one name,
// in two domains or tables, have one thing standing for their IDs.
func (k Key) which() string {
	if k.ID.Known() {
		return string(k.ID)
	}
	var places []string
	for _, p := range k.Places {
		places = append(places, p.Source+"\x00"+p.SourceKey)
	}
	slices.Sort(places)
	return string(k.ID) + "\x00" + strings.Join(places, "\x00")
}

// Print gathers the keys of a sheet, from the vault and, where it does not hold them, from their sources now. Each is in the
// audit. One that nobody gives, and one bad LAPS value, are named and keep nothing else from the sheet. Without a reason
// it returns a question.NeededError after it has found the keys; with none at all a *NothingHeldError.
func Print(ctx context.Context, d *desk.Desk, r SheetRequest, reason string, how desk.Access) (Sheet, error) {
	vault, err := open(ctx, d)
	if err != nil {
		return Sheet{}, err
	}
	keys, missing, err := r.wanted(ctx, d, vault)
	if err != nil {
		return Sheet{}, err
	}
	if len(keys) == 0 {
		return Sheet{}, hint.Wrap(&NothingHeldError{missing}, "`fleetmend keys sync` reads which keys there are; `fleetmend keys find HOST` shows what is known")
	}
	if err := whyReveal(reason); err != nil {
		return Sheet{}, err
	}
	unlocked := slices.ContainsFunc(keys, func(w wanted) bool { return len(sealed(w.key.Places)) > 0 })
	if unlocked {
		if err := d.Unlock(ctx, how); err != nil {
			return Sheet{}, err
		}
	}
	out := Sheet{Missing: missing}
	var accounts map[string]*sheet.Account
	if r.LAPS {
		if accounts, out.WithoutLAPS, err = localAdmins(ctx, d, keys, reason); err != nil {
			return Sheet{}, hint.Wrap(err, "nothing was printed; without --laps the sheet needs no directory")
		}
	}
	read := readEach
	if unlocked {
		read = readTogether
	}
	found, failed, err := read(ctx, d, vault, keys, reason)
	if err != nil {
		return Sheet{}, err
	}
	for _, w := range keys {
		which := w.key.which()
		if len(found[which]) == 0 {
			out.Missing = append(out.Missing, fmt.Sprintf("%s of %s: %s", w.key.ID, w.key.Machine.Label(), withAdvice(failed[which])))
			continue
		}
		out.Entries = append(out.Entries, w.entries(found[which], accounts)...)
	}
	if len(out.Entries) == 0 {
		return Sheet{}, hint.Wrap(&NothingHeldError{out.Missing}, "`fleetmend keys sync --passwords` brings passwords into the vault; `fleetmend keys find HOST` shows what is known")
	}
	return out, nil
}

// wanted finds the keys of a request, each once, and what has none.
func (r SheetRequest) wanted(ctx context.Context, d *desk.Desk, vault *bitlocker.Vault) (out []wanted, missing []string, err error) {
	if len(r.IDs) > 0 {
		for _, id := range r.IDs {
			key, err := one(ctx, vault, id)
			if err != nil {
				return nil, nil, err
			}
			index, err := indexOf(ctx, d, []bitlocker.Machine{key.Machine})
			if err != nil {
				return nil, nil, err
			}
			m, known := index.find(key.Machine)
			out = append(out, wanted{key, m, known})
		}
		return out, nil, nil
	}
	seen := map[string]bool{}
	for _, m := range r.Machines {
		found, err := vault.Find(ctx, bitlocker.Query{Machines: Identities(m)})
		if err != nil && !notStored(err) {
			return nil, nil, err
		}
		keys := together(found.Matches, nil)
		keys = slices.DeleteFunc(keys, func(k Key) bool { return !askable(k) || seen[k.which()] })
		if len(keys) == 0 {
			missing = append(missing, m.Name)
		}
		for _, k := range keys {
			seen[k.which()] = true
			out = append(out, wanted{k, m, true})
		}
	}
	return out, missing, nil
}

// askable reports whether a password of the key may be had: one that is held, or one whose source has not said that it has
// none, and whose machine has not removed its protector.
func askable(k Key) bool {
	return slices.ContainsFunc(k.Places, func(p Place) bool {
		return p.State == bitlocker.StateSealed || k.Rotated.IsZero() && (p.State == bitlocker.StateUnknown || p.State == bitlocker.StateDenied)
	})
}

// passwords are what was got of each key, by Key.which.
type passwords map[string][]bitlocker.RecoveryKey

// readTogether gives the passwords that the unlocked vault holds. Those that it does not hold are read into it first, from
// their sources; the audit is written once for many.
func readTogether(ctx context.Context, d *desk.Desk, vault *bitlocker.Vault, keys []wanted, reason string) (passwords, map[string]error, error) {
	failed, err := fetchUnheld(ctx, d, vault, keys, reason)
	if err != nil {
		return nil, nil, err
	}
	var held []bitlocker.KeyRef
	var of []string // whose each is
	for _, w := range keys {
		for _, ref := range sealed(w.key.Places) {
			held, of = append(held, ref), append(of, w.key.which())
		}
	}
	out := passwords{}
	if len(held) == 0 {
		return out, failed, nil
	}
	all, err := vault.RevealAll(ctx, audit.Sheet, reason, held...)
	for i, k := range all {
		out[of[i]] = append(out[of[i]], k)
	}
	for which := range out {
		out[which] = distinct(out[which])
	}
	return out, failed, err
}

// fetchUnheld reads the keys that the vault does not hold into it, each from the first of its places that gives it.
func fetchUnheld(ctx context.Context, d *desk.Desk, vault *bitlocker.Vault, keys []wanted, reason string) (map[string]error, error) {
	failed := map[string]error{}
	for round := 0; ; round++ {
		places := map[string][]*Place{}
		of := map[*Place]string{}
		for _, w := range keys {
			if len(sealed(w.key.Places)) == 0 && round < len(w.key.Places) {
				p := &w.key.Places[round]
				places[p.Source], of[p] = append(places[p.Source], p), w.key.which()
			}
		}
		if len(places) == 0 {
			return failed, nil
		}
		for _, name := range slices.Sorted(maps.Keys(places)) {
			refused, err := fetchPlaces(ctx, d, vault, name, places[name], reason)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			for _, p := range places[name] {
				if err := cmp.Or(refused[p.SourceKey], err); err != nil {
					failed[of[p]] = errors.Join(failed[of[p]], err)
					continue
				}
				p.State = bitlocker.StateSealed
			}
		}
	}
}

// fetchPlaces reads keys of one source into the vault; what it refuses is by source key.
func fetchPlaces(ctx context.Context, d *desk.Desk, vault *bitlocker.Vault, name string, places []*Place, reason string) (map[string]error, error) {
	source, err := d.Connect.KeySource(ctx, name)
	if err != nil {
		return nil, err
	}
	refs := make([]bitlocker.KeyRef, len(places))
	for i, p := range places {
		refs[i] = p.KeyRef
	}
	report, err := vault.Fetch(ctx, source, reason, refs...)
	refused := map[string]error{}
	for _, f := range report.Failed {
		refused[f.Ref.SourceKey] = f.Err
	}
	return refused, err
}

// readEach asks the sources for each password; the vault, which holds none of them, stays locked.
func readEach(ctx context.Context, d *desk.Desk, vault *bitlocker.Vault, keys []wanted, reason string) (passwords, map[string]error, error) {
	out, failed := passwords{}, map[string]error{}
	for _, w := range keys {
		key, err := fromSources(ctx, d, vault, audit.Sheet, w.key.Places, reason)
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if err != nil {
			failed[w.key.which()] = err
			continue
		}
		out[w.key.which()] = []bitlocker.RecoveryKey{key}
	}
	return out, failed, nil
}

// distinct leaves a password out that several places hold alike.
func distinct(keys []bitlocker.RecoveryKey) []bitlocker.RecoveryKey {
	var out []bitlocker.RecoveryKey
	for _, k := range keys {
		if !slices.ContainsFunc(out, func(o bitlocker.RecoveryKey) bool { return o.ID == k.ID && o.Password.Equal(k.Password) }) {
			out = append(out, k)
		}
	}
	return out
}

// entries prints each password of a key; where there are several, each says so.
func (w wanted) entries(found []bitlocker.RecoveryKey, accounts map[string]*sheet.Account) []sheet.Entry {
	var out []sheet.Entry
	for i, k := range found {
		e := sheet.Entry{Key: k, Name: w.machine.Name, Site: w.machine.Site, Serial: w.machine.Serial, LAPS: accounts[w.machine.ID]}
		if e.Serial == "" {
			e.Serial = k.Machine.Serial
		}
		switch {
		case len(found) > 1:
			e.Note = fmt.Sprintf("PASSWORD %d OF %d for this key ID: try both", i+1, len(found))
		case len(w.key.Sources()) > 1:
			e.Note = "kept in " + strings.Join(w.key.Sources(), ", ")
		}
		out = append(out, e)
	}
	return out
}

// withAdvice is an error with its remedy, for a line of a list.
func withAdvice(err error) string {
	text := err.Error()
	if remedy := strings.Join(hint.Of(err), ", "); remedy != "" {
		text += " (" + remedy + ")"
	}
	return text
}

// SheetFor takes words for IDs of keys where all are that, and for a selector else. A host may be called DEADBEEF01; one such word is
// taken for a key, as on the recovery screen.
func SheetFor(ctx context.Context, d *desk.Desk, words []string, incident string, laps bool, stdin io.Reader) (SheetRequest, error) {
	r := SheetRequest{LAPS: laps}
	ids := len(words) > 0
	for _, word := range words {
		_, err := bitlocker.ParsePrefix(word)
		ids = ids && err == nil
	}
	switch {
	case ids:
		r.IDs = words
		return r, nil
	case len(words) > 1:
		return r, hint.Mistake(errors.New("one selector or several key IDs are wanted"), "put the selector in quotes, and names behind each other with commas: WS1,WS2")
	}
	var err error
	r.Machines, err = machines.SelectIn(ctx, d, strings.Join(words, ""), cases.Options{Incident: incident}, stdin)
	return r, err
}

// Left are the machines and keys that are not on the sheet, or not whole, by what is missing.
func (s Sheet) Left() int { return len(s.Missing) + len(s.WithoutLAPS) }
