package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/bitlocker/sheet"
	"github.com/fleetmend/fleetmend/internal/connect"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/inventory/ad"
)

// localAdmins reads the passwords of the local administrators of the machines on a sheet, each once and each in the audit
// before it is asked for. What the directory answers for one machine is no reason to print nothing: those without a password
// are named. A directory that cannot be asked is an error.
func (a *app) localAdmins(ctx context.Context, d *desk, refs []bitlocker.KeyRef, names map[bitlocker.KeyID]inventory.Machine, reason string) (accounts map[string]*sheet.Account, without []string, err error) {
	front, err := a.Desk()
	if err != nil {
		return nil, nil, err
	}
	reader, err := front.Connect.LAPS(ctx)
	if err != nil {
		return nil, nil, err
	}
	accounts = map[string]*sheet.Account{}
	asked := map[string]bool{}
	for _, ref := range refs {
		m, known := names[ref.ID]
		if !known {
			m = inventory.Machine{ID: ref.Machine.Label(), Name: ref.Machine.Label()}
		}
		if asked[m.ID] {
			continue
		}
		asked[m.ID] = true
		if !known {
			without = append(without, m.Name+": the inventory does not know the machine")
			continue
		}
		if _, err := d.audit.Append(ctx, audit.Entry{Action: audit.LAPS, Machine: m.Name, Source: "ad:" + front.Settings.Directory.Domain, Reason: reason}); err != nil {
			return nil, nil, err
		}
		admin, err := reader.Read(ctx, &m)
		switch {
		case err == nil:
			accounts[m.ID] = &sheet.Account{User: connect.AccountOf(admin), Password: admin.Password, Expires: admin.Expires}
		case ad.IsAnswer(err):
			without = append(without, m.Name+": "+lapsAnswer(err))
		default:
			return nil, nil, fmt.Errorf("read LAPS passwords: %w", err)
		}
	}
	return accounts, without, nil
}

// lapsAnswer is why there is no password, without the repetition of the machine, with the remedy.
func lapsAnswer(err error) string {
	text := err.Error()
	for _, known := range []error{ad.ErrEncrypted, ad.ErrNoRight, ad.ErrNoLAPS, ad.ErrNoMachine, ad.ErrMalformed, ad.ErrSeveral} {
		if errors.Is(err, known) {
			text = known.Error()
		}
	}
	if remedy := joined(hint.Of(err)); remedy != "" {
		text += " (" + remedy + ")"
	}
	return text
}
