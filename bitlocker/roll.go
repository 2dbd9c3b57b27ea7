package bitlocker

import (
	"context"
	"database/sql"
	"time"
)

// Roller is a [Source] that can call the roll of its keys at less cost than a whole reading. A key object does not change
// when its computer is renamed or moved, and says nothing when it is deleted; [Vault.Sync] calls the roll after each
// reading of what is new, and learns both.
type Roller interface {
	Source

	// Roll calls emit for every key that the source lists now, deleted ones left out: its source key and its machine, as
	// Keys would give them. An error means that the roll did not come to its end; then nothing is concluded from it.
	Roll(ctx context.Context, emit func(sourceKey string, m Machine) error) error
}

// mostGone is the part of a source's keys that a reading may miss before rather its rights are doubted than the keys
// taken for gone; below fewGone it is no part of anything.
const (
	mostGone = 0.2
	fewGone  = 10
)

// doubtful reports whether so many of the known keys are missing that the rights are rather doubted.
func doubtful(missing, known int) bool {
	return missing > fewGone && float64(missing) > mostGone*float64(known)
}

// called is a key as the vault knows it while the roll is called.
type called struct {
	id      int64
	machine Machine
	deleted bool
	here    bool
}

// roll renews the machines of keys and flags those that are gone, in one transaction after the roll came to its end. It
// returns how many keys the source lists that the vault does not know.
func (v *Vault) roll(ctx context.Context, src Roller, started time.Time, report *SyncReport) (unknown int, err error) {
	known, err := v.knownOf(ctx, src.Name())
	if err != nil {
		return 0, err
	}
	moved := map[int64]Machine{}
	err = src.Roll(ctx, func(sourceKey string, m Machine) error {
		k, ok := known[sourceKey]
		if !ok {
			unknown++
			return ctx.Err()
		}
		k.here = true
		m = m.normal()
		if m.GUID == "" {
			m.GUID = k.machine.GUID
		}
		if m != k.machine || k.deleted {
			moved[k.id] = m
		}
		return ctx.Err()
	})
	if err != nil || unknown > 0 {
		return unknown, err
	}
	var gone []int64
	listed, live := 0, 0 // keys that were deleted long ago are no part of what a reading may miss
	for _, k := range known {
		if k.here {
			listed++
		}
		if !k.deleted {
			live++
		}
		if !k.here && !k.deleted {
			gone = append(gone, k.id)
		}
	}
	if n := len(gone); listed == 0 || doubtful(n, live) {
		report.Missing, gone = n, nil
	}
	report.Moved, report.Gone = len(moved), len(gone)
	if len(moved)+len(gone) == 0 {
		return 0, nil
	}
	return 0, v.write(ctx, func(tx *sql.Tx) error { return rolled(ctx, tx, moved, gone, nanos(started)) })
}

func rolled(ctx context.Context, tx *sql.Tx, moved map[int64]Machine, gone []int64, at int64) error {
	move, err := tx.PrepareContext(ctx, "UPDATE refs SET name = ?, fqdn = ?, serial = ?, device_id = ?, dn = ?, guid = ?, deleted = 0, gone = 0, seen = max(seen, ?) WHERE id = ?")
	if err != nil {
		return err
	}
	defer func() { _ = move.Close() }()
	flag, err := tx.PrepareContext(ctx, "UPDATE refs SET deleted = 1, gone = ? WHERE id = ?")
	if err != nil {
		return err
	}
	defer func() { _ = flag.Close() }()
	for id, m := range moved {
		if _, err := move.ExecContext(ctx, m.Name, m.FQDN, m.Serial, m.DeviceID, m.DN, m.GUID, at, id); err != nil {
			return err
		}
	}
	for _, id := range gone {
		if _, err := flag.ExecContext(ctx, at, id); err != nil {
			return err
		}
	}
	return nil
}

// knownOf reads the keys of a source, by source key.
func (v *Vault) knownOf(ctx context.Context, source string) (map[string]*called, error) {
	rows, err := v.db.QueryContext(ctx, "SELECT id, source_key, name, fqdn, serial, device_id, dn, guid, deleted FROM refs WHERE source = ?", source)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	known := map[string]*called{}
	for rows.Next() {
		var key string
		k := &called{}
		m := &k.machine
		if err := rows.Scan(&k.id, &key, &m.Name, &m.FQDN, &m.Serial, &m.DeviceID, &m.DN, &m.GUID, &k.deleted); err != nil {
			return nil, err
		}
		known[key] = k
	}
	return known, rows.Err()
}
