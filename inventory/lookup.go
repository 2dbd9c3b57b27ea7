package inventory

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Lookup gives the machines that one of the words stands for: short name, FQDN, serial number, owner (with or without
// domain), Entra device ID or AD object GUID, in any case, sorted by name and ID. Words of nobody are no error. It reads
// the machines it finds and no others, unlike [Store.Select], which holds all of them in memory; the machines come like
// those of Select.
func (s *Store) Lookup(ctx context.Context, words ...string) ([]Machine, error) {
	w := newWords(words)
	if len(w) == 0 {
		return nil, nil
	}
	if !w.indexed() {
		all, err := s.Select(ctx, Selector{})
		if err != nil {
			return nil, err
		}
		return slices.DeleteFunc(all, func(m Machine) bool { return !w.name(&m) }), nil
	}
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("look up machines: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	ids, err := w.candidates(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("look up machines: %w", err)
	}
	machines, err := loadOnly(ctx, tx, ids)
	if err != nil {
		return nil, fmt.Errorf("look up machines: %w", err)
	}
	machines = slices.DeleteFunc(machines, func(m Machine) bool { return !w.name(&m) })
	slices.SortFunc(machines, compareMachines)
	return machines, nil
}

// words are what is looked up, in lower case.
type words map[string]bool

func newWords(given []string) words {
	w := words{}
	for _, word := range given {
		if word = strings.ToLower(strings.TrimSpace(word)); word != "" {
			w[word] = true
		}
	}
	return w
}

// indexed reports whether SQLite's lower, which knows ASCII alone, does for all words.
func (w words) indexed() bool {
	for word := range w {
		if strings.IndexFunc(word, func(r rune) bool { return r > '~' }) >= 0 {
			return false
		}
	}
	return true
}

// name reports whether one of the words stands for the machine as it was merged.
func (w words) name(m *Machine) bool {
	owner := strings.ToLower(m.Owner)
	_, account, _ := strings.Cut(owner, `\`)
	if account == "" {
		account = owner
	}
	user, _, _ := strings.Cut(account, "@")
	for _, value := range []string{strings.ToLower(m.Name), strings.ToLower(m.FQDN), strings.ToLower(m.Serial), owner, account, user, m.Claims.EntraDeviceID, m.Claims.ObjectGUID} {
		if value != "" && w[value] {
			return true
		}
	}
	return false
}

// lookups find the records of a word. The words are a JSON list, ?1; a record may write more than the word: a name with
// its domain or the $ of its account, an owner with @ and domain, a GUID in braces.
var lookups = func() []string {
	var out []string
	add := func(column, condition string) {
		out = append(out, "SELECT machine_id FROM json_each(?1) AS word CROSS JOIN records WHERE "+column+" IS NOT NULL AND "+strings.ReplaceAll(condition, "X", column))
	}
	for _, column := range []string{"by_fqdn", "by_serial", "by_owner", "by_account"} {
		add(column, "X = word.value")
	}
	for _, column := range []string{"by_guid", "by_device"} {
		add(column, "X IN (word.value, '{' || word.value || '}', replace(word.value, '-', ''))")
	}
	add("by_account", "X >= word.value || '@' AND X < word.value || 'A'")
	add("by_name", `X IN (word.value, word.value || '$', '\' || word.value, '\' || word.value || '$')`)
	add("by_name", "X >= word.value || '.' AND X < word.value || '/'")
	add("by_fqdn", "X >= word.value || '.' AND X < word.value || '/'")
	return append(out, `SELECT machine_id FROM operator_fields WHERE field IN ('name', 'fqdn', 'serial', 'owner')`)
}()

// lookupFields are the fields of a record that its columns for looking up are made of, in the order of the columns. Of a
// name or an account what stands behind DOMAIN\ counts.
var lookupFields = [...]struct {
	column string
	index  int
	local  bool
}{
	{"by_name", recordFieldIndex["name"], true}, {"by_fqdn", recordFieldIndex["fqdn"], false}, {"by_serial", recordFieldIndex["serial"], false},
	{"by_owner", recordFieldIndex["owner"], false}, {"by_account", recordFieldIndex["owner"], true},
	{"by_guid", recordFieldIndex["claims.object_guid"], false}, {"by_device", recordFieldIndex["claims.entra_device_id"], false},
}

// columns are the values of those columns; nil where there is none.
type columns [len(lookupFields)]any

// columns gives them for a record, in the form they are stored in.
func (r *rec) columns() (*columns, error) {
	if r.by != nil {
		return r.by, nil
	}
	var said values
	if !said.parse(r.raw) {
		if err := r.decode(); err != nil {
			return nil, err
		}
		for i := range recordFields {
			said[i] = r.Fields[recordFields[i].name]
		}
	}
	return said.columns(), nil
}

// columns gives the values in lower case as SQLite has it, which knows ASCII alone.
func (said *values) columns() *columns {
	out := new(columns)
	for i, f := range lookupFields {
		v := said[f.index]
		if v == "" {
			continue
		}
		if f.local {
			v = v[strings.IndexByte(v, '\\')+1:]
		}
		out[i] = strings.Map(func(c rune) rune {
			if c >= 'A' && c <= 'Z' {
				return c + 'a' - 'A'
			}
			return c
		}, v)
	}
	return out
}

// candidates gives the IDs of machines with a record that may say one of the words. Machines that an operator renamed or
// gave away are few, and all of them are candidates.
func (w words) candidates(ctx context.Context, q querier) ([]string, error) {
	list := make([]string, 0, len(w))
	for word := range w {
		list = append(list, word)
	}
	text, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	var ids []string
	err = each(ctx, bound{q, string(text)}, strings.Join(lookups, " UNION "), func(scan func(...any) error) error {
		var id string
		if err := scan(&id); err != nil {
			return err
		}
		ids = append(ids, id)
		return nil
	})
	return ids, err
}

// bound gives every query one argument.
type bound struct {
	querier
	value string
}

// QueryContext runs the query with the argument.
func (b bound) QueryContext(ctx context.Context, query string, _ ...any) (*sql.Rows, error) {
	return b.querier.QueryContext(ctx, query, b.value)
}

// loadOnly reads some machines, each as it is in a snapshot.
func loadOnly(ctx context.Context, q querier, ids []string) ([]Machine, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	c, err := partOf(ctx, q, ids...)
	if err != nil {
		return nil, err
	}
	groups := c.byMachine()
	out := make([]Machine, 0, len(c.machines))
	for id, conflicts := range c.machines {
		out = append(out, Machine{})
		snapshotMachine(&out[len(out)-1], id, groups[id], c.overlays[id], conflicts)
	}
	return out, nil
}
