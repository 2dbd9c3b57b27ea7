package statefolder

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the driver, pure Go
)

func open(path string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	slashed := filepath.ToSlash(abs)
	if !strings.HasPrefix(slashed, "/") {
		slashed = "/" + slashed // file:///C:/...
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: slashed, RawQuery: "_pragma=busy_timeout(30000)"}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// ask lets SQLite say the version, write-ahead log included.
func ask(ctx context.Context, path string, f File) (version int, ours bool, err error) {
	db, err := open(path)
	if err != nil {
		return 0, false, err
	}
	defer db.Close() //nolint:errcheck // only read
	var app int
	err = db.QueryRowContext(ctx, "SELECT (SELECT user_version FROM pragma_user_version), (SELECT application_id FROM pragma_application_id)").Scan(&version, &app)
	if err != nil && strings.Contains(err.Error(), "not a database") {
		return 0, false, nil // its store says what to do
	}
	return version, app == f.ApplicationID, err
}

// snapshot copies a file as it is at one moment, whoever else reads or writes it.
func snapshot(ctx context.Context, from, to string) error {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	db, err := open(from)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", to)
	return errors.Join(err, db.Close())
}
