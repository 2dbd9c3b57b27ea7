// Package mssql reads recovery keys from the databases of Configuration Manager (BitLocker management) and stand-alone
// MBAM, which never forget a machine.
//
// [Open] connects, and the [Source] is given to the vault. Encrypted columns are decrypted by the server's own function,
// for who may use it. The package only reads, never over an unencrypted connection, and it goes around the portal of
// these products: neither their audit nor their rotation after use takes place, which is why the vault's audit records it.
package mssql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	driver "github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
)

// Source is one database. It is safe for use by many goroutines.
type Source struct {
	db        *sql.DB
	name      string
	layout    layout
	decrypted bool // the column is encrypted, and the server has the function that decrypts it
}

// ErrSignIn is returned where the server rejects the account.
var ErrSignIn = errors.New("the server refused the account or its password")

// layout is how the tables are called.
type layout struct{ product, machines, volumes, keys, function string }

// The site database of Configuration Manager puts the schema of stand-alone MBAM into the table names.
var layouts = []layout{
	{"ConfigMgr", "dbo.RecoveryAndHardwareCore_Machines", "dbo.RecoveryAndHardwareCore_Machines_Volumes", "dbo.RecoveryAndHardwareCore_Keys", "RecoveryAndHardwareCore.DecryptString"},
	{"MBAM", "RecoveryAndHardwareCore.Machines", "RecoveryAndHardwareCore.Machines_Volumes", "RecoveryAndHardwareCore.Keys", "RecoveryAndHardwareCore.DecryptString"},
}

// Open connects to a database by a URL as go-mssqldb takes it, "sqlserver://user:password@host?database=CM_LON". A
// connection without encryption is refused. An empty name becomes "mssql:" with host and database.
func Open(ctx context.Context, name string, dsn secret.String) (*Source, error) {
	config, err := parse(dsn.Reveal())
	if err != nil { // its text may hold the password
		return nil, hint.Wrap(errors.New("open key database: the connection URL is not well formed"), "it looks like sqlserver://HOST?database=CM_XYZ")
	}
	if config.Encryption == msdsn.EncryptionDisabled || config.Encryption == msdsn.EncryptionOff {
		return nil, hint.Wrap(fmt.Errorf("open key database on %s: the connection would not be encrypted", config.Host), "take encrypt=disable or encrypt=false out of the URL; a server with its own certificate authority wants certificate=FILE")
	}
	config.ReadOnlyIntent = config.Database != "" // the driver wants a database for it
	if name == "" {
		name = "mssql:" + strings.ToLower(config.Host+"/"+config.Database)
	}
	db := sql.OpenDB(driver.NewConnectorConfig(config))
	s, err := New(ctx, name, db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// parse asks for encryption with a checked certificate where the URL says nothing; the driver would use neither.
func parse(dsn string) (msdsn.Config, error) {
	u, err := url.Parse(dsn)
	if err != nil || u.Scheme != "sqlserver" {
		return msdsn.Config{}, errors.New("no sqlserver URL")
	}
	q := u.Query()
	if !hasParameter(q, "encrypt") {
		q.Set("encrypt", "true")
		u.RawQuery = q.Encode()
	}
	return msdsn.Parse(u.String())
}

func hasParameter(q url.Values, name string) bool {
	for k := range q {
		if strings.EqualFold(k, name) {
			return true
		}
	}
	return false
}

// New looks at an open database for the tables of one of the products. Close closes db.
func New(ctx context.Context, name string, db *sql.DB) (*Source, error) {
	for _, l := range layouts {
		var found, encrypted, function bool
		// Neither SQL names nor their types come from outside.
		err := db.QueryRowContext(ctx, `SELECT CASE WHEN OBJECT_ID(@p1) IS NULL THEN 0 ELSE 1 END,
 CASE WHEN EXISTS (SELECT 1 FROM sys.columns c JOIN sys.types t ON t.user_type_id = c.system_type_id WHERE c.object_id = OBJECT_ID(@p1) AND c.name = 'RecoveryKey' AND t.name IN ('varbinary', 'binary', 'image')) THEN 1 ELSE 0 END,
 CASE WHEN OBJECT_ID(@p2) IS NULL THEN 0 ELSE 1 END`, l.keys, l.function).Scan(&found, &encrypted, &function)
		if err != nil {
			return nil, fmt.Errorf("open key database %s: %w", name, classify(err, bitlocker.ErrListDenied))
		}
		if found {
			return &Source{db: db, name: name, layout: l, decrypted: encrypted && function}, nil
		}
	}
	return nil, hint.Wrap(fmt.Errorf("open key database %s: %w: it has no table of recovery keys that this account may see", name, bitlocker.ErrListDenied),
		"name the site database (database=CM_XYZ) or MBAM's, and give the account SELECT on the tables RecoveryAndHardwareCore...")
}

// Close closes the connections.
func (s *Source) Close() error { return s.db.Close() }

// Name is the name of the source.
func (s *Source) Name() string { return s.name }

// Product says what was found: "ConfigMgr" or "MBAM".
func (s *Source) Product() string { return s.layout.product }

// Keys lists keys that were written since then. It asks for no password.
func (s *Source) Keys(ctx context.Context, since time.Time, emit func(bitlocker.KeyRef) error) error {
	if since.Before(time.Date(1753, 1, 1, 0, 0, 0, 0, time.UTC)) {
		since = time.Date(1753, 1, 1, 0, 0, 0, 0, time.UTC) // the first day of SQL Server's datetime
	}
	//nolint:gosec // the names of the tables are ours
	query := "SELECT CONVERT(nvarchar(64), k.RecoveryKeyId), CONVERT(nvarchar(64), k.VolumeId), m.Name, k.LastUpdateTime FROM " + s.layout.keys + " k" +
		" LEFT JOIN " + s.layout.volumes + " v ON v.VolumeId = k.VolumeId LEFT JOIN " + s.layout.machines + " m ON m.Id = v.MachineId WHERE k.LastUpdateTime >= @p1"
	rows, err := s.db.QueryContext(ctx, query, since.UTC())
	if err != nil {
		return fmt.Errorf("list keys of %s: %w", s.name, classify(err, bitlocker.ErrListDenied))
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id, volume, machine sql.NullString
		var updated sql.NullTime
		if err := rows.Scan(&id, &volume, &machine, &updated); err != nil {
			return fmt.Errorf("list keys of %s: %w", s.name, err)
		}
		ref := bitlocker.KeyRef{Source: s.name, Created: updated.Time, VolumeID: volume.String, Machine: bitlocker.Machine{Name: machine.String}}
		if ref.ID, err = bitlocker.ParseKeyID(id.String); err != nil {
			return fmt.Errorf("list keys of %s: machine %s: %w", s.name, ref.Machine.Label(), err)
		}
		// A volume that moved, and a cloned one, is several machines'.
		ref.SourceKey = string(ref.ID) + "/" + strings.ToUpper(machine.String)
		if err := emit(ref); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("list keys of %s: %w", s.name, classify(err, bitlocker.ErrListDenied))
	}
	return nil
}

// Password reads one password. A server that gives NULL for an encrypted one did not let us use its certificate.
func (s *Source) Password(ctx context.Context, ref bitlocker.KeyRef) (bitlocker.Password, error) {
	column := "k.RecoveryKey"
	if s.decrypted {
		column = s.layout.function + "(k.RecoveryKey, DEFAULT)"
	}
	var text sql.NullString
	err := s.db.QueryRowContext(ctx, "SELECT TOP 1 "+column+" FROM "+s.layout.keys+" k WHERE k.RecoveryKeyId = @p1 ORDER BY k.LastUpdateTime DESC", string(ref.ID)).Scan(&text)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return bitlocker.Password{}, fmt.Errorf("key %s in %s: %w", ref.ID, s.name, bitlocker.ErrNotStored)
	case err != nil:
		return bitlocker.Password{}, fmt.Errorf("read key %s of %s: %w", ref.ID, s.name, classify(err, bitlocker.ErrReadDenied))
	case !text.Valid && s.decrypted:
		return bitlocker.Password{}, hint.Wrap(fmt.Errorf("read key %s of %s: %w", ref.ID, s.name, bitlocker.ErrReadDenied),
			"the account may not use the certificate that decrypts the column: it needs EXECUTE on "+s.layout.function+" and CONTROL on BitLockerManagement_CERT")
	case !text.Valid || text.String == "":
		return bitlocker.Password{}, fmt.Errorf("key %s in %s: %w", ref.ID, s.name, bitlocker.ErrNotStored)
	}
	p, err := bitlocker.ParsePassword(text.String)
	if err != nil {
		return p, fmt.Errorf("key %s of %s: %w", ref.ID, s.name, err)
	}
	return p, nil
}

// classify turns the server's refusals into denied. Numbers are those of sys.messages.
func classify(err, denied error) error {
	var e driver.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Number {
	case 229, 230, 297, 300: // permission denied on an object, a column, to act, on the server
		return hint.Wrap(fmt.Errorf("%w: %w", denied, err), "give the account SELECT on the RecoveryAndHardwareCore tables")
	case 916, 4060: // no access to the database
		return hint.Wrap(fmt.Errorf("%w: %w", denied, err), "the account is no user of this database, or its name is wrong")
	case 18452, 18456:
		return hint.Wrap(fmt.Errorf("%w: %w", ErrSignIn, err), "check mssql.user and mssql.password-file; DOMAIN\\user signs in with NTLM, a plain name is a login of the server")
	case 207, 208:
		return hint.Wrap(err, "the tables are not as this version knows them; export the keys as CSV and import that")
	}
	return err
}
