package sqlitefile

import (
	"context"
	"database/sql"
	"fmt"
)

// Watch tells whether a file was changed, by whomever, also by this process. It is for one goroutine.
type Watch struct {
	conn *sql.Conn // of its own: SQLite tells a connection what the others did
	was  int64
	what string
}

// Watch begins to watch. It holds one connection until it is closed.
func (db *DB) Watch(ctx context.Context) (*Watch, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("watch the %s: %w", db.what, err)
	}
	w := &Watch{conn: conn, what: db.what}
	if _, err := w.Changed(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return w, nil
}

// Changed reports whether anything was committed since the last call, or since the watch began. It costs next to nothing
// (https://www.sqlite.org/pragma.html#pragma_data_version).
func (w *Watch) Changed(ctx context.Context) (bool, error) {
	var now int64
	if err := w.conn.QueryRowContext(ctx, "PRAGMA data_version").Scan(&now); err != nil {
		return false, fmt.Errorf("watch the %s: %w", w.what, err)
	}
	changed := now != w.was
	w.was = now
	return changed, nil
}

// Close ends the watch.
func (w *Watch) Close() error { return w.conn.Close() }
