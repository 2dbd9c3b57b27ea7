package connect

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/mssql"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/settings"
)

// sqlTimeout bounds a connection that nobody answers.
const sqlTimeout = 15 * time.Second

// sqlKeys is a database that is opened when it is first asked, so that a server that is down keeps no other source back.
type sqlKeys struct {
	name string
	url  secret.String

	mu     sync.Mutex
	source *mssql.Source
}

func sqlSource(ctx context.Context, c *Connector) (bitlocker.Source, error) {
	m := c.Settings.MSSQL
	switch {
	case m.Server == "" || m.Database == "":
		return nil, hint.Mistake(errors.New("no key database is configured"), "write a section mssql with server, database, user and password-file into fleetmend.yaml")
	case m.User == "" && runtime.GOOS != "windows":
		return nil, hint.Mistake(errors.New("no user to sign in at the key database with"), "set mssql.user, a login of the server or DOMAIN\\user, and mssql.password-file")
	}
	if _, err := os.Stat(m.CA); m.CA != "" && err != nil { // the driver's own words come late and name no setting
		return nil, fmt.Errorf("mssql.ca: %w", err)
	}
	var password secret.String
	var err error
	switch {
	case m.User == "":
	case m.PasswordFile != "":
		if password, err = c.Secret(m.PasswordFile, "mssql.password-file names a file with the password in its first line"); err != nil {
			return nil, err
		}
	default:
		password, err = c.password(ctx, "mssql.password", "Password of "+m.User+" at "+m.Server, "no password for the key database, and there is nobody to ask", "set mssql.password-file")
		if err != nil {
			return nil, err
		}
	}
	s := &sqlKeys{name: "mssql:" + strings.ToLower(m.Server+"/"+m.Database), url: sqlURL(m, password)}
	c.own(s)
	return s, nil
}

// sqlURL is the connection as go-mssqldb takes it. It holds the password, and goes nowhere but there.
func sqlURL(c settings.MSSQL, password secret.String) secret.String {
	host, instance, _ := strings.Cut(c.Server, `\`)
	u := url.URL{Scheme: "sqlserver", Host: host, Path: instance}
	if c.User != "" {
		u.User = url.UserPassword(c.User, password.Reveal())
	}
	q := url.Values{"database": {c.Database}, "app name": {"fleetmend"}, "dial timeout": {fmt.Sprint(int(sqlTimeout.Seconds()))}}
	if c.CA != "" {
		q.Set("certificate", c.CA)
	}
	u.RawQuery = q.Encode()
	return secret.New(u.String())
}

func (s *sqlKeys) open(ctx context.Context) (*mssql.Source, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.source != nil {
		return s.source, nil
	}
	source, err := mssql.Open(ctx, s.name, s.url)
	switch {
	case errors.Is(err, mssql.ErrSignIn), errors.Is(err, bitlocker.ErrListDenied):
		return nil, err
	case err != nil:
		return nil, hint.Wrap(err, "see whether server and port (1433) can be reached from here, and whether its certificate is trusted (mssql.ca); keys exported as CSV can be read with `fleetmend keys import FILE`")
	}
	s.source = source
	return source, nil
}

// Name implements [bitlocker.Source].
func (s *sqlKeys) Name() string { return s.name }

// Keys implements [bitlocker.Source].
func (s *sqlKeys) Keys(ctx context.Context, since time.Time, emit func(bitlocker.KeyRef) error) error {
	source, err := s.open(ctx)
	if err != nil {
		return err
	}
	return source.Keys(ctx, since, emit)
}

// Password implements [bitlocker.Source].
func (s *sqlKeys) Password(ctx context.Context, ref bitlocker.KeyRef) (bitlocker.Password, error) {
	source, err := s.open(ctx)
	if err != nil {
		return bitlocker.Password{}, err
	}
	return source.Password(ctx, ref)
}

// Close ends the connections.
func (s *sqlKeys) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.source == nil {
		return nil
	}
	err := s.source.Close()
	s.source = nil
	return err
}
