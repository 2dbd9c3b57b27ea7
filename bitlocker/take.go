package bitlocker

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker/audit"
)

// TakeReport says what a table gave.
type TakeReport struct {
	Added, Changed int            // references
	Sealed         int            // passwords
	Kept           int            // of them, in place of another one, which is kept beside it
	Failed         []FetchFailure // keys that were taken without their password, with the reason
}

// Take takes in a source whose passwords are at hand, as those of a table are: references and passwords in one transaction,
// all or none, whenever the program ends. The audit gets one entry before it, with detail (how many, of which file), for no
// password is given away. Keys that the source no longer holds stay as they are. The vault must be unlocked.
func (v *Vault) Take(ctx context.Context, src Source, reason, detail string) (TakeReport, error) {
	var report TakeReport
	data := v.dataKey()
	switch {
	case data == nil:
		return report, fmt.Errorf("import keys of %s: %w", src.Name(), locked())
	case strings.TrimSpace(reason) == "":
		return report, noReason()
	}
	defer clear(data)
	if err := v.record(ctx, audit.Entry{Action: audit.Import, Source: src.Name(), Reason: reason, Detail: detail}); err != nil {
		return report, fmt.Errorf("import keys of %s: %w", src.Name(), err)
	}
	err := v.write(ctx, func(tx *sql.Tx) error {
		report = TakeReport{}
		return v.takeIn(ctx, tx, data, src, &report)
	})
	if err != nil {
		return TakeReport{}, fmt.Errorf("import keys of %s: nothing was taken in: %w", src.Name(), err)
	}
	return report, nil
}

func (v *Vault) takeIn(ctx context.Context, tx *sql.Tx, data []byte, src Source, report *TakeReport) error {
	now := v.now()
	put, err := newPutter(ctx, tx)
	if err != nil {
		return err
	}
	defer put.close()
	if err := tx.QueryRowContext(ctx, "SELECT NOT EXISTS (SELECT 1 FROM refs WHERE source = ?)", src.Name()).Scan(&put.fresh); err != nil {
		return err
	}
	err = src.Keys(ctx, time.Time{}, func(ref KeyRef) error {
		ref.Source = src.Name()
		id, isNew, isChanged, err := put.ref(ctx, ref, now)
		if err != nil {
			return err
		}
		if isNew {
			report.Added++
		} else if isChanged {
			report.Changed++
		}
		p, err := src.Password(ctx, ref)
		if err == nil && p.IsZero() {
			err = ErrNotStored
		}
		if err != nil {
			report.Failed = append(report.Failed, FetchFailure{ref, err})
			return v.noteIn(ctx, tx, ref, err)
		}
		report.Sealed++
		return v.putPassword(ctx, put, data, id, RecoveryKey{KeyRef: ref, Password: p})
	})
	if err != nil {
		return err
	}
	report.Kept = put.kept
	_, err = tx.ExecContext(ctx, `INSERT INTO sources (source, synced, full) VALUES (?1, ?2, ?2) ON CONFLICT (source) DO UPDATE SET synced = max(synced, ?2)`, src.Name(), nanos(now))
	return err
}
