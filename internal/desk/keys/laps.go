package keys

import (
	"context"
	"fmt"

	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/bitlocker/sheet"
	"github.com/fleetmend/fleetmend/internal/connect"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/inventory/ad"
)

// admins reads the local administrator of a machine; *connect.LAPS is one.
type admins interface {
	Read(ctx context.Context, m *inventory.Machine) (ad.LocalAdmin, error)
}

// localAdmins reads the passwords of the local administrators of the machines on a sheet, each once and each in the audit
// before it is asked for. What the directory answers for one machine is no reason to print nothing: those without a password
// are named. A directory that cannot be asked is an error.
func localAdmins(ctx context.Context, d *desk.Desk, keys []wanted, reason string) (accounts map[string]*sheet.Account, without []string, err error) {
	reader, err := d.Connect.LAPS(ctx)
	if err != nil {
		return nil, nil, err
	}
	return readAdmins(ctx, d, reader, keys, reason)
}

func readAdmins(ctx context.Context, d *desk.Desk, reader admins, keys []wanted, reason string) (accounts map[string]*sheet.Account, without []string, err error) {
	log, err := d.Audit(ctx)
	if err != nil {
		return nil, nil, err
	}
	accounts = map[string]*sheet.Account{}
	asked := map[string]bool{}
	for _, w := range keys {
		id, name := w.machine.ID, w.machine.Name
		if !w.known {
			id, name = w.key.Machine.Label(), w.key.Machine.Label()
		}
		if asked[id] {
			continue
		}
		asked[id] = true
		if !w.known {
			without = append(without, name+": the inventory does not know the machine")
			continue
		}
		if _, err := log.Append(ctx, audit.Entry{Action: audit.LAPS, Machine: name, Source: "ad:" + d.Settings.Directory.Domain, Reason: reason}); err != nil {
			return nil, nil, err
		}
		m := w.machine
		admin, err := reader.Read(ctx, &m)
		switch {
		case err == nil:
			accounts[id] = &sheet.Account{User: connect.AccountOf(admin), Password: admin.Password, Expires: admin.Expires}
		case ad.IsAnswer(err):
			without = append(without, name+": "+ad.WhyNone(err))
		default:
			return nil, nil, fmt.Errorf("read LAPS passwords: %w", err)
		}
	}
	return accounts, without, nil
}
