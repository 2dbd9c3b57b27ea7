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
	shown, err := shownSince(ctx, d, began(i))
	if err != nil || len(shown) == 0 {
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
		if shown[m.ID] && m.Rotated.IsZero() && !m.Deleted && !m.Stale {
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

// shownSince are the keys that somebody was given since a time. A reveal that came to nothing is none.
func shownSince(ctx context.Context, d *desk.Desk, since time.Time) (map[bitlocker.KeyID]bool, error) {
	log, err := d.Audit(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := log.List(ctx, audit.Filter{Since: since})
	if err != nil {
		return nil, err
	}
	shown := map[bitlocker.KeyID]bool{}
	for n := range entries {
		if e := &entries[n]; exposing[e.Action] && e.KeyID != "" {
			shown[bitlocker.KeyID(strings.ToUpper(e.KeyID))] = true
		}
	}
	return shown, nil
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
