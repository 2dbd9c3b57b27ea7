package sqlitefile

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"os"
	"runtime/debug"
)

// Digest is what many rows say, packed into a few large blobs: a row costs SQLite and its driver more than all that is done with it
// afterwards, and a fleet has 50,000 of each kind. It is derived, may be deleted at any time, and lies in the table digest of the
// file that it is derived from, so that it is never of other rows than those. Its store knows which rows changed after Number, and
// reads them beside it.
type Digest struct {
	Number int64

	rows  int
	parts [][]byte
}

// partSize is how large a blob becomes.
const partSize = 256 << 10

// Add packs one more row.
func (d *Digest) Add(row []byte) {
	n := len(d.parts)
	if n == 0 || len(d.parts[n-1])+len(row)+binary.MaxVarintLen64 > partSize {
		d.parts = append(d.parts, make([]byte, 0, max(partSize, len(row)+binary.MaxVarintLen64)))
		n++
	}
	d.parts[n-1] = append(binary.AppendUvarint(d.parts[n-1], uint64(len(row))), row...)
	d.rows++
}

// ReadDigest calls begin with the number of the digest of a scope and how many rows it has, and each with every row of it, which may be kept. It is not found
// where another program wrote it: what that took for the truth may mean something else here.
func ReadDigest(ctx context.Context, tx *sql.Tx, scope string, begin func(number int64, rows int) error, each func(row string) error) (found bool, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT n, rows, CAST(packed AS TEXT) FROM digest WHERE scope = ? AND maker = ? ORDER BY part", scope, maker)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for rows.Next() {
		var number int64
		var all int
		var packed string // a text takes one copy less than a blob on its way through the driver
		if err := rows.Scan(&number, &all, &packed); err != nil {
			return found, err
		}
		if !found {
			if err := begin(number, all); err != nil {
				return found, err
			}
		}
		found = true
		if err := unpacked(packed, each); err != nil {
			return found, err
		}
	}
	return found, rows.Err()
}

func unpacked(part string, each func(row string) error) error {
	for part != "" {
		size, width := Uvarint(part)
		if width <= 0 || size > uint64(len(part)-width) {
			return errPacked
		}
		end := width + int(size)
		if err := each(part[width:end]); err != nil {
			return err
		}
		part = part[end:]
	}
	return nil
}

// Uvarint is [binary.Uvarint] for a text.
func Uvarint(s string) (n uint64, width int) {
	for shift := uint(0); width < len(s) && shift < 64; shift += 7 {
		b := s[width]
		width++
		if n |= uint64(b&0x7f) << shift; b < 0x80 {
			return n, width
		}
	}
	return 0, 0
}

// Keeping says what may become of a digest that was just made. Unchanged reports whether all is as it was when it was read; nil: the
// numbers of the rows tell by themselves. Forget is done with it, with its number as ?1; "": nothing.
type Keeping struct {
	Unchanged func(context.Context, *sql.Tx) (bool, error)
	Forget    string
}

// KeepDigest writes the digest of a scope in place of an older one. Where the file cannot be written, or somebody else writes it just
// now, nothing is kept: the next reader makes it again.
func (db *DB) KeepDigest(ctx context.Context, scope string, d *Digest, how Keeping) {
	if db.ReadOnly() || maker == "" || len(d.parts) == 0 {
		return
	}
	_ = db.keepDigest(ctx, scope, d, how) // as said
}

func (db *DB) keepDigest(ctx context.Context, scope string, d *Digest, how Keeping) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.ExecContext(ctx, "PRAGMA busy_timeout = 0"); err != nil {
		return err
	}
	defer func() {
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), fmt.Sprintf("PRAGMA busy_timeout = %d", busyTimeout.Milliseconds()))
	}()
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	if follows, err := d.follows(ctx, tx, scope, how); err != nil || !follows {
		return err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM digest WHERE scope = ?", scope); err != nil {
		return err
	}
	for part, packed := range d.parts {
		if _, err := tx.ExecContext(ctx, "INSERT INTO digest (scope, part, n, rows, maker, packed) VALUES (?, ?, ?, ?, ?, ?)", scope, part, d.Number, d.rows, maker, packed); err != nil {
			return err
		}
	}
	if how.Forget != "" {
		if _, err := tx.ExecContext(ctx, how.Forget, d.Number); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// follows reports whether all that changed since the digest was read has a higher number than it. Changes are numbered only while
// there is a digest, so that one was there all the time where one with a lower number still is.
func (d *Digest) follows(ctx context.Context, tx *sql.Tx, scope string, how Keeping) (bool, error) {
	var older, known bool
	err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM digest WHERE scope = ?1 AND n < ?2), EXISTS (SELECT 1 FROM digest WHERE scope = ?1 AND n >= ?2 AND maker = ?3)",
		scope, d.Number, maker).Scan(&older, &known)
	if err != nil || known {
		return false, err
	}
	if older || how.Unchanged == nil {
		return true, nil
	}
	return how.Unchanged(ctx, tx)
}

// maker tells this program from every other, also from another build of it; empty where it cannot be told.
var maker = func() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	file, err := os.Stat(path)
	if err != nil {
		return ""
	}
	made := fmt.Sprint(file.Size(), " ", file.ModTime().UnixNano())
	if info, ok := debug.ReadBuildInfo(); ok {
		made += " " + info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" || s.Key == "GOARCH" || s.Key == "GOOS" {
				made += " " + s.Value
			}
		}
	}
	return made
}()
