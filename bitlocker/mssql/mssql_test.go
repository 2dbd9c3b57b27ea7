package mssql_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	sqlserver "github.com/microsoft/go-mssqldb"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/mssql"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
)

const (
	id1  = "4C4B6D8A-1F2E-4D3C-9B8A-0123456789AB"
	good = "111111-222222-333333-444444-555555-666666-000000-720885"
)

// server answers queries by what they begin with. It speaks database/sql, not TDS: whether a real SQL Server takes the
// statements is not shown here.
type server struct {
	mu      sync.Mutex
	answer  func(query string, args []driver.NamedValue) ([][]driver.Value, error)
	queries []string
}

func (s *server) Connect(context.Context) (driver.Conn, error) { return conn{s}, nil }
func (s *server) Driver() driver.Driver                        { return nil }

type conn struct{ s *server }

func (conn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("not prepared") }
func (conn) Close() error                        { return nil }
func (conn) Begin() (driver.Tx, error)           { return nil, errors.New("no transaction is needed to read") }
func (c conn) QueryContext(_ context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.queries = append(c.s.queries, query)
	values, err := c.s.answer(query, args)
	return &rows{values: values}, err
}

type rows struct{ values [][]driver.Value }

func (r *rows) Columns() []string {
	if len(r.values) == 0 {
		return []string{"c"}
	}
	return make([]string, len(r.values[0]))
}
func (r *rows) Close() error { return nil }
func (r *rows) Next(dest []driver.Value) error {
	if len(r.values) == 0 {
		return io.EOF
	}
	copy(dest, r.values[0])
	r.values = r.values[1:]
	return nil
}

func database(product string, encrypted, function bool, then func(query string, args []driver.NamedValue) ([][]driver.Value, error)) *server {
	bit := map[bool]int64{true: 1}
	return &server{answer: func(query string, args []driver.NamedValue) ([][]driver.Value, error) {
		if strings.HasPrefix(query, "SELECT CASE WHEN OBJECT_ID") {
			mine := strings.HasPrefix(args[0].Value.(string), "dbo.") == (product == "ConfigMgr") && product != ""
			return [][]driver.Value{{bit[mine], bit[encrypted], bit[function]}}, nil
		}
		return then(query, args)
	}}
}

func TestKeysAndPassword(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		product             string
		encrypted, function bool
		column              string
	}{
		{"ConfigMgr", false, true, "SELECT TOP 1 k.RecoveryKey FROM dbo.RecoveryAndHardwareCore_Keys k"},
		{"ConfigMgr", true, true, "SELECT TOP 1 RecoveryAndHardwareCore.DecryptString(k.RecoveryKey, DEFAULT) FROM dbo.RecoveryAndHardwareCore_Keys k"},
		{"MBAM", true, true, "SELECT TOP 1 RecoveryAndHardwareCore.DecryptString(k.RecoveryKey, DEFAULT) FROM RecoveryAndHardwareCore.Keys k"},
	} {
		srv := database(c.product, c.encrypted, c.function, func(query string, args []driver.NamedValue) ([][]driver.Value, error) {
			switch {
			case strings.HasPrefix(query, "SELECT CONVERT"):
				if since := args[0].Value.(time.Time); since.Year() < 1753 {
					return nil, fmt.Errorf("SQL Server has no %v", since)
				}
				return [][]driver.Value{{strings.ToLower(id1), "0b", "PC-1", at}, {id1, nil, nil, nil}}, nil
			case strings.HasPrefix(query, c.column) && args[0].Value == id1:
				return [][]driver.Value{{good}}, nil
			}
			return nil, fmt.Errorf("unexpected: %s", query)
		})
		s, err := mssql.New(t.Context(), "mssql:x", sql.OpenDB(srv))
		if err != nil || s.Product() != c.product {
			t.Fatalf("%v", err)
		}
		var refs []bitlocker.KeyRef
		if err := s.Keys(t.Context(), time.Time{}, func(r bitlocker.KeyRef) error { refs = append(refs, r); return nil }); err != nil {
			t.Fatal(err)
		}
		if len(refs) != 2 || refs[0].ID != id1 || refs[0].Machine.Name != "PC-1" || !refs[0].Created.Equal(at) || refs[0].SourceKey == refs[1].SourceKey {
			t.Fatalf("%+v", refs)
		}
		p, err := s.Password(t.Context(), refs[0])
		if err != nil || p.Reveal() != good {
			t.Fatal(err)
		}
		for _, q := range srv.queries {
			if first, _, _ := strings.Cut(strings.TrimSpace(q), " "); first != "SELECT" || strings.Contains(q, ";") {
				t.Errorf("not a plain SELECT: %s", q)
			}
		}
		if strings.Contains(srv.queries[len(srv.queries)-2], "RecoveryKey,") {
			t.Error("the list asks for passwords")
		}
		s.Close()
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		encrypted bool
		rows      [][]driver.Value
		err       error
		want      error
	}{
		"no right":       {err: sqlserver.Error{Number: 229, Message: "The SELECT permission was denied"}, want: bitlocker.ErrReadDenied},
		"no certificate": {encrypted: true, rows: [][]driver.Value{{nil}}, want: bitlocker.ErrReadDenied},
		"null":           {rows: [][]driver.Value{{nil}}, want: bitlocker.ErrNotStored},
		"no row":         {want: bitlocker.ErrNotStored},
		"empty":          {rows: [][]driver.Value{{""}}, want: bitlocker.ErrNotStored},
	} {
		srv := database("ConfigMgr", c.encrypted, true, func(string, []driver.NamedValue) ([][]driver.Value, error) { return c.rows, c.err })
		s, err := mssql.New(t.Context(), "mssql:x", sql.OpenDB(srv))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Password(t.Context(), bitlocker.KeyRef{ID: id1}); !errors.Is(err, c.want) || errors.Is(c.want, bitlocker.ErrReadDenied) && len(hint.Of(err)) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	srv := database("MBAM", false, false, func(query string, _ []driver.NamedValue) ([][]driver.Value, error) {
		if strings.HasPrefix(query, "SELECT TOP") {
			return [][]driver.Value{{strings.Replace(good, "333333", "333343", 1)}}, nil
		}
		return nil, sqlserver.Error{Number: 229}
	})
	s, err := mssql.New(t.Context(), "mssql:x", sql.OpenDB(srv))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Keys(t.Context(), time.Now(), nil); !errors.Is(err, bitlocker.ErrListDenied) {
		t.Errorf("%v", err)
	}
	var wrong *bitlocker.PasswordError
	if _, err := s.Password(t.Context(), bitlocker.KeyRef{ID: id1}); !errors.As(err, &wrong) || strings.Contains(err.Error(), "333343") {
		t.Errorf("%v", err)
	}
	if _, err := mssql.New(t.Context(), "mssql:x", sql.OpenDB(database("", false, false, nil))); !errors.Is(err, bitlocker.ErrListDenied) {
		t.Errorf("%v", err)
	}
}

func TestOpenRefusesPlainConnections(t *testing.T) {
	for _, dsn := range []string{"sqlserver://u:Planted-1@127.0.0.1:1?database=CM_X&encrypt=disable", "sqlserver://u:Planted-1@127.0.0.1:1?database=CM_X&encrypt=false",
		"sqlserver://u:Planted-1@[bad", "server=127.0.0.1;password=Planted-1", "sqlserver://u:Planted-1@127.0.0.1:1?database=CM_X&dial+timeout=1"} {
		_, err := mssql.Open(t.Context(), "", secret.New(dsn))
		if err == nil || strings.Contains(fmt.Sprint(err, hint.Of(err)), "Planted") {
			t.Errorf("%v", err)
		}
		if strings.Contains(dsn, "encrypt=") != strings.Contains(err.Error(), "would not be encrypted") {
			t.Errorf("%v", err)
		}
	}
}
