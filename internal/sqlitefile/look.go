package sqlitefile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Look lets SQLite say the version of a file and whose it is, write-ahead log included. It changes nothing. What is no file of
// SQLite's has neither.
func Look(ctx context.Context, path string) (application, version int, err error) {
	db, err := bare(path)
	if err != nil {
		return 0, 0, err
	}
	defer db.Close() //nolint:errcheck // only read
	err = db.QueryRowContext(ctx, "SELECT (SELECT user_version FROM pragma_user_version), (SELECT application_id FROM pragma_application_id)").Scan(&version, &application)
	if damaged(err) {
		return 0, 0, nil // who opens it says what to do
	}
	return application, version, err
}

// Snapshot copies a file as it is at one moment, whoever else reads or writes it, to one that is not there.
func Snapshot(ctx context.Context, from, to string) error {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	db, err := bare(from)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", to)
	return errors.Join(err, db.Close())
}

// bare opens a file as it is.
func bare(path string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", uri(abs, url.Values{"_pragma": {fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds())}}))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// uri names a file so that a '?' or '%' in its path is no parameter.
func uri(abs string, parameters url.Values) string {
	slashed := filepath.ToSlash(abs)
	if !strings.HasPrefix(slashed, "/") {
		slashed = "/" + slashed // file:///C:/...
	}
	return (&url.URL{Scheme: "file", Path: slashed, RawQuery: parameters.Encode()}).String()
}
