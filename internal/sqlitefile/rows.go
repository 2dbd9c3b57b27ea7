package sqlitefile

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// Statements prepares each statement of a transaction when it is first needed. It looks at ctx between them: a driver that watches
// ctx while each of ten thousand runs is busy with that.
type Statements struct {
	ctx  context.Context
	tx   *sql.Tx
	open map[string]*sql.Stmt
}

// NewStatements begins with none. They are closed before the transaction ends.
func NewStatements(ctx context.Context, tx *sql.Tx) *Statements {
	return &Statements{ctx, tx, map[string]*sql.Stmt{}}
}

// Exec runs a statement.
func (s *Statements) Exec(query string, args ...any) error {
	_, err := s.exec(query, args)
	return err
}

func (s *Statements) exec(query string, args []any) (sql.Result, error) {
	if err := s.ctx.Err(); err != nil {
		return nil, err
	}
	put := s.open[query]
	if put == nil {
		var err error
		if put, err = s.tx.PrepareContext(s.ctx, query); err != nil {
			return nil, err
		}
		s.open[query] = put
	}
	return put.ExecContext(context.WithoutCancel(s.ctx), args...)
}

// Close closes them, and joins what goes wrong to err.
func (s *Statements) Close(err error) error {
	for _, put := range s.open {
		err = errors.Join(err, put.Close())
	}
	return err
}

// RowsAtOnce is how many rows [Rows] puts into a statement.
const RowsAtOnce = 32

// Rows writes new rows of a table, many with one statement: a statement costs the driver as much as its row costs SQLite, and each value
// that is bound to it costs a part of that. A column that was blank in all rows
// so far is not bound.
type Rows struct {
	put     *Statements
	into    string   // verb, table and columns
	blank   []string // by column: the literal that is all its rows had so far; "": it is bound
	args    []any    // of the rows that wait
	given   int
	written int64
}

// Rows begins to write rows: verb is INSERT OR FAIL, which keeps SQLite from copying every page that a statement of many rows touches
// (who gets an error takes the transaction back), or INSERT OR IGNORE.
func (s *Statements) Rows(verb, table string, columns ...string) *Rows {
	return &Rows{put: s, into: verb + " INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES "}
}

// Add writes a row, or keeps it for [Rows.Flush]: a value for each column.
func (r *Rows) Add(values ...any) error {
	for _, v := range values[len(r.blank):] {
		r.blank = append(r.blank, blank(v)) // of the first row
	}
	for i, v := range values {
		if r.blank[i] == "" || blank(v) == r.blank[i] {
			continue
		}
		if err := r.Flush(); err != nil { // the statement has no place for it
			return err
		}
		r.blank[i] = ""
	}
	for i, v := range values {
		if r.blank[i] == "" {
			r.args = append(r.args, v)
		}
	}
	if r.given++; r.given < RowsAtOnce {
		return nil
	}
	return r.Flush()
}

// Flush writes the rows that wait.
func (r *Rows) Flush() error {
	if r.given == 0 {
		return nil
	}
	row := "("
	for i, literal := range r.blank {
		if i > 0 {
			row += ", "
		}
		if literal == "" {
			literal = "?"
		}
		row += literal
	}
	row += ")"
	done, err := r.put.exec(r.into+strings.Repeat(row+", ", r.given-1)+row, r.args)
	r.args, r.given = r.args[:0], 0
	if err != nil {
		return err
	}
	n, err := done.RowsAffected()
	r.written += n
	return err
}

// Written is how many rows there are more: those that wait, and those that were ignored, are none of them.
func (r *Rows) Written() int64 { return r.written }

// blank is how SQL writes a value that says nothing; "": it says something.
func blank(v any) string {
	switch v {
	case nil:
		return "NULL"
	case "":
		return "''"
	case int64(0), false:
		return "0"
	}
	return ""
}
