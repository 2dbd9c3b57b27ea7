package cases

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/bitlocker/coverage"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// exposing are the acts after which a person or a stick has a password.
var exposing = map[audit.Action]bool{audit.Reveal: true, audit.Sheet: true, audit.Media: true}

// exposed are the machines of which somebody was given a recovery key since an incident began, by screen, on paper or on a medium,
// while the machine has not replaced it since. The audit says who was shown what, the vault what was replaced. It is read in full
// only where something was shown.
func exposed(ctx context.Context, d *desk.Desk, machines []coverage.Machine, i *journal.Incident) (map[string]bool, error) {
	said, err := tell(ctx, d, began(i))
	if err != nil || len(said.shown) == 0 {
		return nil, err
	}
	vault, err := d.Vault(ctx)
	if err != nil {
		return nil, err
	}
	var keys []bitlocker.Match
	newest := map[string]time.Time{} // of each device in its source: when its newest key was made
	err = vault.All(ctx, func(m bitlocker.Match) error {
		if at := newest[device(m)]; m.Created.After(at) {
			newest[device(m)] = m.Created
		}
		if said.open(&m) {
			keys = append(keys, m)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	open := keys[:0]
	for _, m := range keys {
		if m.RotationAsked.IsZero() || !newest[device(m)].After(m.RotationAsked) { // else Intune has done what it was asked for
			open = append(open, m)
		}
	}
	if len(open) == 0 {
		return nil, nil
	}
	out := map[string]bool{}
	for _, line := range coverage.Build(d.Now(), machines, open).Lines {
		if line.Keys > 0 {
			out[line.Machine.ID] = true
		}
	}
	return out, nil
}

// told is what the audit says of keys since a time.
type told struct {
	shown  map[bitlocker.KeyID]time.Time // when somebody was last given it
	whole  map[string]bool               // machines whose newest rotation was to replace every key of the volume, by name
	turned map[string]time.Time          // when a machine last said that it has done so
}

// tell reads the audit from a time on. A reveal that came to nothing shows nothing.
func tell(ctx context.Context, d *desk.Desk, since time.Time) (told, error) {
	t := told{map[bitlocker.KeyID]time.Time{}, map[string]bool{}, map[string]time.Time{}}
	log, err := d.Audit(ctx)
	if err != nil {
		return t, err
	}
	entries, err := log.List(ctx, audit.Filter{Since: since})
	if err != nil {
		return t, err
	}
	for n := range entries {
		e := &entries[n]
		name := short(e.Machine)
		switch {
		case exposing[e.Action] && e.KeyID != "":
			t.shown[bitlocker.KeyID(strings.ToUpper(e.KeyID))] = e.Time
		case e.Action == audit.Rotate && e.Run == "": // what is planned: one key, or all
			t.whole[name] = e.KeyID == ""
		case e.Action == audit.Rotate && e.KeyID != "" && t.whole[name]: // what its run did: each key that is gone
			t.turned[name] = e.Time
		}
	}
	return t, nil
}

// open reports whether a key was shown, and still opens the disk as far as is known. A key that a machine did not have any more
// when it replaced all of them, and that of another volume, are nothing that another rotation would change.
func (t *told) open(m *bitlocker.Match) bool {
	at, ok := t.shown[m.ID]
	return ok && m.Rotated.IsZero() && !m.Deleted && !m.Stale && !t.turned[short(m.Machine.Name)].After(at)
}

func short(name string) string {
	name, _, _ = strings.Cut(name, ".")
	return strings.ToUpper(name)
}

func device(m bitlocker.Match) string {
	return m.Source + " " + cmp.Or(m.Machine.DeviceID, m.Machine.GUID, m.Machine.Name)
}

// began is when an incident began, or was opened where that is not known.
func began(i *journal.Incident) time.Time {
	if i.Start.IsZero() {
		return i.Opened
	}
	return i.Start
}
