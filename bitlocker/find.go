package bitlocker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/prose"
)

// Query says which keys to find: those that fit any of its fields. Text in any case.
type Query struct {
	KeyID    Prefix
	Host     string    // short name or FQDN; with a * at its end everything that begins so
	Serial   string    // as Host
	Machines []Machine // what the inventory knows of machines in question, for a search by serial or user: any field that is there
	Limit    int       // 0: all
}

// ParseQuery makes a query of what an operator types into one field: a key ID where it is 8 or more hexadecimal digits, and
// a host name or serial number in any case, for "DEADBEEF01" may be each of them.
func ParseQuery(text string) Query {
	text = strings.TrimSpace(text)
	q := Query{Host: text, Serial: text}
	if p, err := ParsePrefix(text); err == nil {
		q.KeyID = p
	}
	return q
}

// State says what the vault knows of a password.
type State string

// The states.
const (
	StateUnknown State = ""        // never asked for
	StateSealed  State = "sealed"  // in the vault
	StateMissing State = "missing" // the source had none when it was asked
	StateDenied  State = "denied"  // the source did not let us read it
	StateInvalid State = "invalid" // the source gave something that cannot be right; Note names the groups
)

// Match is a reference that was found.
type Match struct {
	KeyRef
	Seen    time.Time `json:"seen"` // when the source last listed it
	State   State     `json:"state,omitempty"`
	Note    string    `json:"note,omitempty"`
	StateAt time.Time `json:"state_at,omitzero"`

	Rotated       time.Time `json:"rotated,omitzero"`        // when its machine said that it has removed the protector
	RotationAsked time.Time `json:"rotation_asked,omitzero"` // when Intune was asked to have it replaced
	Gone          time.Time `json:"gone,omitzero"`           // when a reading of its source first missed it; zero where it is Deleted since before that was noted
}

// Found is the answer to a query.
type Found struct {
	Matches []Match `json:"matches"` // newest first
}

// Machines lists the machines among the matches, each once, in the order of the matches.
func (f Found) Machines() []Machine {
	var out []Machine
	seen := map[string]bool{}
	for _, m := range f.Matches {
		if label := strings.ToLower(m.Machine.Name + "|" + m.Machine.DeviceID); !seen[label] {
			seen[label] = true
			out = append(out, m.Machine)
		}
	}
	return out
}

// KeyIDs lists the key IDs among the matches, each once.
func (f Found) KeyIDs() []KeyID {
	var out []KeyID
	seen := map[KeyID]bool{}
	for _, m := range f.Matches {
		if !seen[m.ID] {
			seen[m.ID] = true
			out = append(out, m.ID)
		}
	}
	return out
}

// Collision reports whether the typed digits of a key ID fit more than one key: then all are shown, and more digits from
// the recovery screen decide.
func (f Found) Collision(typed Prefix) bool {
	n := 0
	for _, id := range f.KeyIDs() {
		if typed.Matches(id) {
			n++
		}
	}
	return n > 1
}

// Find answers from the references in the vault, which may be locked. It returns [*UnknownError] where nothing fits, with
// the places it looked at.
func (v *Vault) Find(ctx context.Context, q Query) (Found, error) {
	out, err := v.Search(ctx, q)
	if err != nil || len(out.Matches) > 0 {
		return out, err
	}
	looked, err := v.Sources(ctx)
	if err != nil {
		return Found{}, err
	}
	return Found{}, unknown(q, looked)
}

// Search is [Vault.Find] for who has more to ask: nothing found is no error. It counts nothing, and is quick for it.
func (v *Vault) Search(ctx context.Context, q Query) (Found, error) {
	found := map[int64]Match{}
	asked := false
	first := q // what is not a machine, and the first machines with it
	for machines := q.Machines; ; first = (Query{}) {
		n := min(len(machines), machinesAtOnce)
		first.Machines, machines = machines[:n], machines[n:]
		conditions, args := first.conditions()
		asked = asked || len(conditions) > 0
		if len(conditions) > 0 {
			text := "SELECT id, " + matchColumns + " FROM refs WHERE id IN (" + strings.Join(conditions, " UNION ") + ")"
			err := v.matches(ctx, text, args, func(id int64, m Match) error {
				found[id] = m
				return nil
			})
			if err != nil {
				return Found{}, fmt.Errorf("find keys: %w", err)
			}
		}
		if len(machines) == 0 {
			break
		}
	}
	if !asked {
		return Found{}, errors.New("find keys: nothing was asked for")
	}
	out := Found{Matches: slices.Collect(maps.Values(found))}
	slices.SortFunc(out.Matches, func(a, b Match) int {
		return cmp.Or(b.Created.Compare(a.Created), b.Seen.Compare(a.Seen), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Source, b.Source), cmp.Compare(a.SourceKey, b.SourceKey))
	})
	if q.Limit > 0 && len(out.Matches) > q.Limit {
		out.Matches = out.Matches[:q.Limit]
	}
	return out, nil
}

// machinesAtOnce keeps a statement below SQLite's limit of 500 terms, with 6 for a machine.
const machinesAtOnce = 80

// conditions gives one SELECT of row numbers for each thing that is asked for, and their arguments.
func (q Query) conditions() (selects []string, args []any) {
	add := func(condition string, values ...any) {
		selects = append(selects, "SELECT id FROM refs WHERE "+condition)
		args = append(args, values...)
	}
	if q.KeyID != "" {
		add("key_id >= ? AND key_id < ?", string(q.KeyID), string(q.KeyID)+"G") // after every digit and the hyphen
	}
	addText(add, q)
	for _, m := range q.Machines {
		addMachine(add, m.normal())
	}
	return selects, args
}

// All calls do for every reference, in no order, for the coverage report.
func (v *Vault) All(ctx context.Context, do func(Match) error) error {
	err := v.matches(ctx, "SELECT id, "+matchColumns+" FROM refs", nil, func(_ int64, m Match) error { return do(m) })
	if err != nil {
		return fmt.Errorf("read keys: %w", err)
	}
	return nil
}

const matchColumns = refColumns + ", seen, state, state_note, state_at, rotated, rotation_asked, gone"

func (v *Vault) matches(ctx context.Context, text string, args []any, do func(id int64, m Match) error) error {
	rows, err := v.db.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var m Match
		var id, seen, at, rotated, asked, gone int64
		if err := scanRef(rows, &m.KeyRef, &id, &seen, &m.State, &m.Note, &at, &rotated, &asked, &gone); err != nil {
			return err
		}
		m.Seen, m.StateAt, m.Rotated, m.RotationAsked, m.Gone = fromNanos(seen), fromNanos(at), fromNanos(rotated), fromNanos(asked), fromNanos(gone)
		if err := do(id, m); err != nil {
			return err
		}
	}
	return rows.Err()
}

func addText(add func(string, ...any), q Query) {
	if host, many := strings.CutSuffix(strings.TrimSpace(q.Host), "*"); host != "" {
		upper, lower := strings.ToUpper(strings.TrimSuffix(host, "$")), strings.ToLower(strings.TrimSuffix(host, "."))
		if many {
			add("name >= ? AND name < ?", upper, after(upper))
			add("fqdn >= ? AND fqdn < ?", lower, after(lower))
		} else {
			add("name = ?", upper)
			add("fqdn = ?", lower)
		}
	}
	if serial, many := strings.CutSuffix(strings.TrimSpace(q.Serial), "*"); serial != "" {
		if many {
			add("serial != '' AND serial >= ? COLLATE NOCASE AND serial < ? COLLATE NOCASE", serial, after(serial))
		} else {
			add("serial != '' AND serial = ? COLLATE NOCASE", serial)
		}
	}
}

// addMachine finds by the strongest of what is known, and by all strong keys: a name is asked for only where the reference
// does not contradict it, for two domains may have machines of one name.
func addMachine(add func(string, ...any), m Machine) {
	if m.GUID != "" {
		add("guid != '' AND guid = ?", m.GUID)
	}
	if m.DeviceID != "" {
		add("device_id != '' AND device_id = ?", m.DeviceID)
	}
	if m.DN != "" {
		add("dn != '' AND dn = ? COLLATE NOCASE", m.DN)
	}
	if m.Serial != "" {
		add("serial != '' AND serial = ? COLLATE NOCASE", m.Serial)
	}
	if m.FQDN != "" {
		add("fqdn = ?", m.FQDN)
	}
	if m.Name != "" {
		add("name = ? AND (fqdn = '' OR ? IN ('', fqdn)) AND (device_id = '' OR ? IN ('', device_id)) AND (guid = '' OR deleted OR ? IN ('', guid))", m.Name, m.FQDN, m.DeviceID, m.GUID)
	}
}

// after is the smallest text behind everything that begins with s, for names without the last code point.
func after(s string) string { return s + "\U0010ffff" }

// UnknownError says that no reference fits, and where that was looked up. It is [ErrNotStored].
type UnknownError struct {
	What   string
	Looked []SourceState
}

func (e *UnknownError) Error() string {
	if len(e.Looked) == 0 {
		return fmt.Sprintf("no key is known for %s: no source of keys was read yet", e.What)
	}
	var places []string
	for _, s := range e.Looked {
		when := "never read as a whole"
		if !s.Synced.IsZero() {
			when = "read " + s.Synced.Format("2006-01-02 15:04Z")
		}
		places = append(places, fmt.Sprintf("%s (%s, %s)", s.Source, prose.Counted(s.Refs, "key", "keys"), when))
	}
	return fmt.Sprintf("no key is known for %s; looked in %s", e.What, strings.Join(places, ", "))
}

// Unwrap gives ErrNotStored.
func (e *UnknownError) Unwrap() error { return ErrNotStored }

func unknown(q Query, looked []SourceState) error {
	what := "this machine"
	switch {
	case q.Host != "":
		what = fmt.Sprintf("%q", shorten(q.Host))
	case q.KeyID != "":
		what = "key ID " + string(q.KeyID)
	case q.Serial != "":
		what = fmt.Sprintf("serial number %q", shorten(q.Serial))
	case len(q.Machines) > 0:
		what = q.Machines[0].Label()
	}
	return hint.Wrap(&UnknownError{What: what, Looked: looked}, "compare the digits with the screen, and run `fleetmend keys sync` if the key may be newer than the last reading")
}
