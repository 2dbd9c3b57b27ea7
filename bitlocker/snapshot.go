package bitlocker

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

// A snapshot is an age file (age-encryption.org/v1) of JSON lines: a header, one line per key, and a last line with their
// number. It is all or nothing: age notices every change and every cut.
const snapshotFormat = "fleetmend-keys-1"

type snapshotLine struct {
	Format   string    `json:"format,omitempty"` // header only
	Created  time.Time `json:"created,omitzero"` // header only
	Ref      *KeyRef   `json:"ref,omitempty"`
	Seen     time.Time `json:"seen,omitzero"`
	Rotated  time.Time `json:"rotated,omitzero"`
	Password string    `json:"password,omitempty"`
	End      *int      `json:"end,omitempty"` // last line: how many keys
}

// SnapshotReport says what a snapshot held.
type SnapshotReport struct {
	Created   time.Time `json:"created"`
	Refs      int       `json:"refs"`
	Passwords int       `json:"passwords"`
}

// SnapshotPassphrase gives the recipient for a snapshot under a passphrase.
func (v *Vault) SnapshotPassphrase(passphrase secret.String) (age.Recipient, error) {
	return v.scrypt(passphrase)
}

// Export writes everything the vault knows, passwords included, encrypted for the recipients: a file for the safe, for the
// day the directories are down. The vault must be unlocked; the export is in the audit before the first byte.
func (v *Vault) Export(ctx context.Context, w io.Writer, reason string, recipients ...age.Recipient) (SnapshotReport, error) {
	report := SnapshotReport{Created: v.now().UTC()}
	key := v.dataKey()
	switch {
	case strings.TrimSpace(reason) == "":
		return report, noReason()
	case len(recipients) == 0:
		return report, errors.New("export keys: nobody is named who could read it")
	case key == nil:
		return report, fmt.Errorf("export keys: %w", locked())
	}
	defer clear(key)
	var n int
	if err := v.db.QueryRowContext(ctx, "SELECT count(*) FROM passwords").Scan(&n); err != nil {
		return report, fmt.Errorf("export keys: %w", err)
	}
	if err := v.record(ctx, audit.Entry{Action: audit.Export, Reason: reason, Detail: fmt.Sprintf("%d passwords", n)}); err != nil {
		return report, fmt.Errorf("export keys: %w", err)
	}
	sealer, err := age.Encrypt(w, recipients...)
	if err != nil {
		return report, fmt.Errorf("export keys: %w", err)
	}
	out := bufio.NewWriter(sealer)
	if err := v.exportLines(ctx, json.NewEncoder(out), key, &report); err != nil {
		return report, fmt.Errorf("export keys: %w", err)
	}
	if err := errors.Join(out.Flush(), sealer.Close()); err != nil {
		return report, fmt.Errorf("export keys: %w", err)
	}
	return report, nil
}

func (v *Vault) exportLines(ctx context.Context, enc *json.Encoder, key []byte, report *SnapshotReport) error {
	if err := enc.Encode(snapshotLine{Format: snapshotFormat, Created: report.Created}); err != nil {
		return err
	}
	rows, err := v.db.QueryContext(ctx, "SELECT id, "+refColumns+", seen, rotated, p.sealed FROM refs LEFT JOIN passwords p ON p.ref = id ORDER BY id")
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var ref KeyRef
		var id, seen, rotated int64
		var sealed []byte
		if err := scanRef(rows, &ref, &id, &seen, &rotated, &sealed); err != nil {
			return err
		}
		line := snapshotLine{Ref: &ref, Seen: fromNanos(seen), Rotated: fromNanos(rotated)}
		if sealed != nil {
			p, err := unseal(key, ref, sealed)
			if err != nil {
				return fmt.Errorf("key %s of %s: %w", ref.ID, ref.Machine.Label(), err)
			}
			line.Password = p.Reveal()
			report.Passwords++
		}
		report.Refs++
		if err := enc.Encode(line); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return enc.Encode(snapshotLine{End: &report.Refs})
}

// ExportFile is [Vault.Export] into a file (mode 0600), which appears whole or not at all. A file that is there is replaced.
func (v *Vault) ExportFile(ctx context.Context, path, reason string, recipients ...age.Recipient) (SnapshotReport, error) {
	var report SnapshotReport
	err := textfile.Write(path, textfile.Private, func(w io.Writer) (err error) {
		report, err = v.Export(ctx, w, reason, recipients...)
		return err
	})
	if err != nil {
		return report, fmt.Errorf("export keys: %w", err)
	}
	return report, nil
}

// Import takes in a snapshot, all or nothing. What the vault knows better (seen later) stays. The vault must be unlocked.
// A wrong passphrase or identity gives [ErrWrongKey].
func (v *Vault) Import(ctx context.Context, r io.Reader, reason string, identities ...age.Identity) (SnapshotReport, error) {
	key := v.dataKey()
	if key == nil {
		return SnapshotReport{}, fmt.Errorf("import keys: %w", locked())
	}
	defer clear(key)
	plain, err := age.Decrypt(r, identities...)
	if err != nil {
		var none *age.NoIdentityMatchError
		if errors.As(err, &none) {
			return SnapshotReport{}, fmt.Errorf("import keys: wrong passphrase or identity: %w", ErrWrongKey)
		}
		return SnapshotReport{}, hint.Wrap(fmt.Errorf("import keys: %w", err), "the file is no snapshot of keys, or it is damaged")
	}
	if err := v.record(ctx, audit.Entry{Action: audit.Import, Reason: reason}); err != nil {
		return SnapshotReport{}, fmt.Errorf("import keys: %w", err)
	}
	var report SnapshotReport
	err = v.write(ctx, func(tx *sql.Tx) (err error) {
		report, err = v.importLines(ctx, tx, json.NewDecoder(plain), key)
		return err
	})
	if err != nil {
		return SnapshotReport{}, hint.Wrap(fmt.Errorf("import keys: %w", err), "nothing was taken in")
	}
	return report, nil
}

func (v *Vault) importLines(ctx context.Context, tx *sql.Tx, dec *json.Decoder, key []byte) (SnapshotReport, error) {
	var head snapshotLine
	if err := dec.Decode(&head); err != nil || head.Format != snapshotFormat {
		return SnapshotReport{}, errors.New("the file is no snapshot of keys that this version knows")
	}
	report := SnapshotReport{Created: head.Created}
	put, err := newPutter(ctx, tx)
	if err != nil {
		return report, err
	}
	defer put.close()
	for {
		var line snapshotLine
		if err := dec.Decode(&line); err != nil {
			return report, fmt.Errorf("the snapshot breaks off after %d keys", report.Refs) // err may quote the line
		}
		if line.End != nil {
			if *line.End != report.Refs {
				return report, fmt.Errorf("the snapshot holds %d keys and should hold %d", report.Refs, *line.End)
			}
			// age checks the end of the file only when it is read.
			if _, err := dec.Token(); !errors.Is(err, io.EOF) {
				return report, errors.New("the snapshot goes on after its end, or is cut")
			}
			return report, nil
		}
		if line.Ref == nil {
			return report, fmt.Errorf("line %d of the snapshot holds no key", report.Refs+2)
		}
		report.Refs++
		if err := v.importLine(ctx, tx, put, key, line, &report); err != nil {
			return report, fmt.Errorf("key %d of the snapshot: %w", report.Refs, err)
		}
	}
}

func (v *Vault) importLine(ctx context.Context, tx *sql.Tx, put *putter, key []byte, line snapshotLine, report *SnapshotReport) error {
	ref := *line.Ref
	clear(put.known) // one line at a time
	var at placed
	var seen int64
	var held bool
	err := tx.QueryRowContext(ctx, "SELECT id, seen, EXISTS (SELECT 1 FROM passwords WHERE ref = id) FROM refs WHERE source = ? AND source_key = ?", ref.Source, ref.SourceKey).Scan(&at.id, &seen, &held)
	known := err == nil
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if !known || seen < nanos(line.Seen) {
		state := StateUnknown
		if line.Password != "" {
			state = StateSealed
		}
		if at, err = put.ref(ref, line.Seen, state); err != nil {
			return err
		}
		if err := put.touch(line.Seen); err != nil {
			return err
		}
	}
	if !line.Rotated.IsZero() {
		if _, err := tx.ExecContext(ctx, "UPDATE refs SET rotated = max(rotated, ?) WHERE id = ?", nanos(line.Rotated), at.id); err != nil {
			return err
		}
	}
	if line.Password == "" {
		return nil
	}
	p, err := ParsePassword(line.Password)
	if err != nil {
		return err
	}
	report.Passwords++
	if held && seen >= nanos(line.Seen) {
		return nil
	}
	return v.putPassword(put, key, at, RecoveryKey{KeyRef: ref, Password: p})
}
