// Package keys are the use cases around recovery keys: find one, show it, print sheets, read sources, rotate.
//
// [Find] answers from references and needs no secret; [Reveal] gives one password, with a reason and a record. A key is one
// thing here however many places keep it ([Key]). What a person has to say before anything happens is an argument: a call that
// lacks a reason returns a [question.NeededError] and has done nothing. [Fold] tells vault and audit what rotations did, from
// the journal; every use case calls it first, so that a process that was killed leaves nothing untold.
//
// The package prints nothing, never guesses between two passwords, and gives none without its entry in the audit.
package keys

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/question"
)

// Key is one recovery key: what its best place says of it, and all places that keep it.
type Key struct {
	bitlocker.Match         // of the place that is asked first: one whose password is in the vault, else the newest
	Places          []Place `json:"places"` // that one first
	Serial          string  `json:"serial,omitempty"`
	Owner           string  `json:"owner,omitempty"`
	Site            string  `json:"site,omitempty"`
}

// Place is one source that keeps a key.
type Place struct {
	bitlocker.Match
	SourceSynced time.Time `json:"source_synced,omitzero"` // last reading of the source
}

// Sources are the names of the places, each once, in their order.
func (k Key) Sources() []string {
	var out []string
	for _, p := range k.Places {
		if !slices.Contains(out, p.Source) {
			out = append(out, p.Source)
		}
	}
	return out
}

// times is how often a source has the key: no password is looked at for that.
func (k Key) times(source string) (n int) {
	for _, p := range k.Places {
		if p.Source == source {
			n++
		}
	}
	return n
}

// Machines are the machines that the places name, each once: more than one where they do not agree. A place that has no name, as a
// key file of Windows or a device ID alone, does not disagree with one that has. What stands for a missing ID is made of the short
// name, so that the names in full tell two machines apart.
func (k Key) Machines() []string {
	var out []string
	named := slices.ContainsFunc(k.Places, func(p Place) bool { return p.Machine.Name != "" })
	for _, p := range k.Places {
		if named && p.Machine.Name == "" || p.Machine == (bitlocker.Machine{}) {
			continue
		}
		name := short(p.Machine)
		if !k.ID.Known() && p.Machine.FQDN != "" {
			name = p.Machine.FQDN
		}
		if name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// short is the name by which two places are compared: sources know an FQDN or a short name.
func short(m bitlocker.Machine) string {
	if m.Name != "" {
		return m.Name
	}
	name, _, _ := strings.Cut(m.Label(), ".")
	return strings.ToUpper(name)
}

// rank says which place is asked first: the smaller.
func rank(m bitlocker.Match) int {
	n := map[bitlocker.State]int{bitlocker.StateSealed: 0, bitlocker.StateUnknown: 10, bitlocker.StateDenied: 20, bitlocker.StateInvalid: 30, bitlocker.StateMissing: 40}[m.State]
	if m.Deleted || m.Stale {
		n += 5
	}
	return n
}

// together makes keys of matches: one for a key ID, in the order in which they come first.
func together(matches []bitlocker.Match, synced map[string]time.Time) []Key {
	var out []Key
	at := map[bitlocker.KeyID]int{}
	for _, m := range matches {
		i, ok := at[m.ID]
		if !ok {
			i = len(out)
			at[m.ID], out = i, append(out, Key{})
		}
		out[i].Places = append(out[i].Places, Place{m, synced[m.Source]})
	}
	for i := range out {
		k := &out[i]
		slices.SortStableFunc(k.Places, func(a, b Place) int { return rank(a.Match) - rank(b.Match) })
		k.Match = k.Places[0].Match
		for _, p := range k.Places { // what one place does not say another may
			if short(p.Machine) == short(k.Machine) || k.Machine.Name == "" {
				fill(&k.Machine, p.Machine)
				k.VolumeID, k.Volume = cmp.Or(k.VolumeID, p.VolumeID), cmp.Or(k.Volume, p.Volume)
			}
			k.Serial = cmp.Or(k.Serial, p.Machine.Serial)
			if k.Rotated.IsZero() {
				k.Rotated = p.Rotated
			}
			if k.RotationAsked.IsZero() {
				k.RotationAsked = p.RotationAsked
			}
		}
	}
	return out
}

// fill takes from another place's words what is missing.
func fill(m *bitlocker.Machine, from bitlocker.Machine) {
	m.Name, m.FQDN, m.Serial = cmp.Or(m.Name, from.Name), cmp.Or(m.FQDN, from.FQDN), cmp.Or(m.Serial, from.Serial)
	m.DeviceID, m.DN, m.GUID = cmp.Or(m.DeviceID, from.DeviceID), cmp.Or(m.DN, from.DN), cmp.Or(m.GUID, from.GUID)
}

// open gives the vault, which knows what rotations did.
func open(ctx context.Context, d *desk.Desk) (*bitlocker.Vault, error) {
	vault, err := d.Vault(ctx)
	if err != nil {
		return nil, err
	}
	return vault, Hear(ctx, d)
}

// needReason refuses a call without a reason for the audit, before anything is done.
func needReason(reason, text, missing string) error {
	if strings.TrimSpace(reason) != "" {
		return nil
	}
	return question.Needed(question.Question{
		ID: "keys.reason", Kind: question.Line, Text: text, Flag: `give it with --reason, such as --reason "INC-1234, at the desk of the user"`,
	}, missing)
}

// whyReveal is asked before a password leaves the vault.
func whyReveal(reason string) error {
	return needReason(reason, "Why is the key needed", "a reason is needed before a key leaves the vault, and nothing was shown")
}

// notStored reports whether err says that nobody knows such a key.
func notStored(err error) bool { return errors.Is(err, bitlocker.ErrNotStored) }
