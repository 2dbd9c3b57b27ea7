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
		empty, err := unindex(ctx, tx)
		if err == nil {
			err = v.takeIn(ctx, tx, data, src, &report)
		}
		if err == nil && empty {
			err = reindex(ctx, tx, fillCache)
		}
		return err
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
	var pending []KeyRef
	flush := func() error {
		clear(put.known)
		if err := put.look(pending); err != nil {
			return err
		}
		for _, ref := range pending {
			if err := v.takeOne(ctx, put, data, src, ref, now, report); err != nil {
				return err
			}
		}
		pending = pending[:0]
		return put.touch(now)
	}
	err = src.Keys(ctx, time.Time{}, func(ref KeyRef) error {
		ref.Source = src.Name()
		if pending = append(pending, ref); len(pending) < batch {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return err
	}
	report.Kept = put.kept
	_, err = tx.ExecContext(ctx, `INSERT INTO sources (source, synced, full) VALUES (?1, ?2, ?2) ON CONFLICT (source) DO UPDATE SET synced = max(synced, ?2)`, src.Name(), nanos(now))
	return err
}

func (v *Vault) takeOne(ctx context.Context, put *putter, data []byte, src Source, ref KeyRef, now time.Time, report *TakeReport) error {
	p, failed := src.Password(ctx, ref)
	if failed == nil && p.IsZero() {
		failed = ErrNotStored
	}
	state := StateSealed
	if failed != nil {
		state = StateUnknown
	}
	at, err := put.ref(ref, now, state)
	if err != nil {
		return err
	}
	if at.isNew {
		report.Added++
	} else if at.isChanged {
		report.Changed++
	}
	if failed != nil {
		report.Failed = append(report.Failed, FetchFailure{ref, failed})
		return v.noteIn(ctx, put.tx, ref, failed)
	}
	report.Sealed++
	return v.putPassword(put, data, at, RecoveryKey{KeyRef: ref, Password: p})
}
