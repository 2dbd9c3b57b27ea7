package sqlitefile

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
)

// Bulk is a connection for many transactions in a row. Each is whole, or not there, if the program is killed; but none is waited for
// until it has reached the disk. The next one of the DB itself waits for all of them: who loses power before that has lost what is
// read again then.
type Bulk struct {
	db   *DB
	conn *sql.Conn
	was  [2]int64 // of the pragmas
}

// bulkLog is how many pages the log holds before they are copied into the file, over and over where the same ones change with each
// transaction: 64 MB.
const bulkLog = 16_384

var bulkPragmas = [2]struct {
	name string
	bulk int64
}{{"synchronous", 1}, {"wal_autocheckpoint", bulkLog}} // 1: NORMAL

// Bulk takes a connection. It is closed before the DB is.
func (db *DB) Bulk(ctx context.Context) (*Bulk, error) {
	if err := db.Writable(); err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	b := &Bulk{db: db, conn: conn}
	for i, p := range bulkPragmas {
		if err == nil {
			err = conn.QueryRowContext(ctx, "PRAGMA "+p.name).Scan(&b.was[i])
		}
	}
	for _, p := range bulkPragmas {
		if err == nil {
			_, err = conn.ExecContext(ctx, fmt.Sprintf("PRAGMA %s = %d", p.name, p.bulk))
		}
	}
	if err != nil {
		return nil, errors.Join(err, b.discard())
	}
	return b, nil
}

// Write begins one of the transactions.
func (b *Bulk) Write(ctx context.Context) (*sql.Tx, error) { return b.conn.BeginTx(ctx, nil) }

// Close gives the connection back as it was.
func (b *Bulk) Close() error {
	for i, p := range bulkPragmas {
		if _, err := b.conn.ExecContext(context.Background(), fmt.Sprintf("PRAGMA %s = %d", p.name, b.was[i])); err != nil {
			return errors.Join(err, b.discard())
		}
	}
	return b.conn.Close()
}

// discard ends a connection that nobody may take for one as it should be.
func (b *Bulk) discard() error {
	err := b.conn.Raw(func(any) error { return driver.ErrBadConn })
	if errors.Is(err, driver.ErrBadConn) {
		return nil
	}
	return err
}
