package sqlitefile

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"hash/crc32"
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
// where another program wrote it (what that took for the truth may mean something else here), and where it is not whole: all of it is
// looked at before anything of it is told.
func ReadDigest(ctx context.Context, tx *sql.Tx, scope string, begin func(number int64, rows int) error, each func(row string) error) (found bool, err error) {
	d, err := whole(ctx, tx, scope)
	if err != nil || d == nil {
		return false, err
	}
	if err := begin(d.number, d.rows); err != nil {
		return true, err
	}
	for _, packed := range d.parts {
		if _, err := unpacked(packed, each); err != nil {
			return true, err
		}
	}
	return true, nil
}

// stored is a digest as it lies in the file.
type stored struct {
	number int64
	rows   int
	parts  []string
}

// sumSize is how many bytes of a part are the sum of the others.
const sumSize = 4

// whole reads the digest of a scope; nil: there is none of this program that is as it was written. A disk, or somebody with an editor,
// may have changed it, and it is not worth a machine: the rows are there.
func whole(ctx context.Context, tx *sql.Tx, scope string) (*stored, error) {
	rows, err := tx.QueryContext(ctx, "SELECT n, rows, CAST(packed AS TEXT) FROM digest WHERE scope = ? AND maker = ? ORDER BY part", scope, maker)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var d *stored
	var held []byte // a part, for its sum
	counted := 0
	for rows.Next() {
		var number int64
		var all int
		var packed string // a text takes one copy less than a blob on its way through the driver
		if err := rows.Scan(&number, &all, &packed); err != nil {
			return nil, err
		}
		if d == nil {
			d = &stored{number: number, rows: all}
		}
		if len(packed) < sumSize {
			return nil, nil //nolint:nilnil // as said
		}
		held = append(held[:0], packed[sumSize:]...)
		if packed[:sumSize] != string(sum(number, all, held)) || number != d.number || all != d.rows {
			return nil, nil //nolint:nilnil // as said
		}
		n, err := unpacked(packed[sumSize:], func(string) error { return nil })
		if err != nil {
			return nil, nil //nolint:nilerr,nilnil // as said
		}
		counted += n
		d.parts = append(d.parts, packed[sumSize:])
	}
	if err := rows.Err(); err != nil || d == nil || counted != d.rows {
		return nil, err
	}
	return d, nil
}

// sum is the sum of a part, and of what stands beside it.
func sum(number int64, rows int, packed []byte) []byte {
	beside := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(number)), uint64(rows)) //nolint:gosec // bits
	return binary.BigEndian.AppendUint32(nil, crc32.Update(crc32.Checksum(beside, castagnoli), castagnoli, packed))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func unpacked(part string, each func(row string) error) (rows int, err error) {
	for ; part != ""; rows++ {
		size, width := Uvarint(part)
		if width <= 0 || size > uint64(len(part)-width) {
			return rows, errPacked
		}
		end := width + int(size)
		if err := each(part[width:end]); err != nil {
			return rows, err
		}
		part = part[end:]
	}
	return rows, nil
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
		if _, err := tx.ExecContext(ctx, "INSERT INTO digest (scope, part, n, rows, maker, packed) VALUES (?, ?, ?, ?, ?, ?)", scope, part, d.Number, d.rows, maker, append(sum(d.Number, d.rows, packed), packed...)); err != nil {
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
	kept, err := whole(ctx, tx, scope)
	if err != nil || kept != nil && kept.number >= d.Number {
		return false, err
	}
	var older bool
	if err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM digest WHERE scope = ?1 AND n < ?2)", scope, d.Number).Scan(&older); err != nil {
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
