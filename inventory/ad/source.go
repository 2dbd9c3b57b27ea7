package ad

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/inventory"
)

// Source is a domain or a forest. The zero scope is every enabled Windows computer of the domain.
type Source struct {
	Config   directory.Config
	Bases    []string // distinguished names of OUs; empty: the domain
	Groups   []string // distinguished, account or common names; members of members count, and the primary group too
	Forest   bool     // every domain of the forest, one domain controller each
	Disabled bool     // disabled accounts too
	Accounts []string // of whom is asked when they are locked: DOMAIN\user or user@domain

	now func() time.Time
}

// Name is the name of the source in the inventory.
func (s *Source) Name() string { return "ad:" + strings.ToLower(strings.Trim(s.Config.Domain, ".")) }

// Result says what a reading gave besides its records.
type Result struct {
	Source string `json:"source"`
	// Full: every machine of the scope was read. Otherwise the roll was called, and only what had changed was read.
	Full      bool           `json:"full"`
	Why       string         `json:"why,omitempty"`    // why it was full although a cursor was given
	Unseen    string         `json:"unseen,omitempty"` // what a reading of changes cannot see, and when the next full one comes
	Cursor    string         `json:"cursor,omitempty"`
	Called    int            `json:"called"`             // machines of the scope that the directory listed
	Machines  int            `json:"machines"`           // of those, read
	Gone      []string       `json:"gone,omitempty"`     // keys of known machines that were not listed
	LeftOut   map[string]int `json:"left_out,omitempty"` // reason -> computers that are no machine of the scope
	Problems  []string       `json:"problems,omitempty"`
	Referrals []string       `json:"referrals,omitempty"`
	// Missing are domains of the forest that could not be read. Nothing of theirs is marked as gone.
	Missing map[string]error `json:"-"`
	DCs     []string         `json:"dcs"`

	left   map[string]inventory.LeftOut // by key
	unread []string                     // keys of machines of the missing domains
	groups map[string]string            // distinguished name -> account name
	locks  []inventory.Lockouts
	at     time.Time
}

// maxProblems bounds the list; further ones are counted.
const maxProblems = 1000

func (r *Result) problem(format string, args ...any) {
	switch len(r.Problems) {
	case maxProblems:
		r.Problems = append(r.Problems, "there are more of them")
	case maxProblems + 1:
	default:
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

// Sync reads the domain and brings the store up to date. The roll of all computers is called each time, so that what
// vanished, moved, was renamed, or joined or left a group is seen, by an ordinary reader and without a change of the
// computer's own; its attributes are read where something changed. Everything is read with full, the first time, with
// another scope or domain controller, and after a week or 20 readings of changes.
func (s *Source) Sync(ctx context.Context, store *inventory.Store, full bool) (Result, inventory.ImportReport, error) {
	before, err := store.Before(ctx, s.Name())
	if err != nil {
		return Result{}, inventory.ImportReport{}, err
	}
	if full {
		before.Cursor = ""
	}
	var records []inventory.Record
	res, err := s.Read(ctx, before, func(r inventory.Record) error { records = append(records, r); return nil })
	if err != nil {
		return res, inventory.ImportReport{}, err
	}
	report, err := store.Take(ctx, s.Name(), inventory.Reading{Before: before, At: res.at, Records: records, Called: res.Called, Gone: res.Gone, Unread: res.unread,
		Whole: res.Full && len(res.Missing) == 0, Certain: full, LeftOut: res.left, Groups: res.groups, Cursor: res.Cursor})
	if err == nil {
		err = store.TakeLockouts(ctx, res.locks)
	}
	return res, report, err
}

// Read emits a record for each machine that is new or changed since the reading that left before; with an empty cursor,
// for all. A domain of a forest that cannot be read is reported in Missing and the others are read; if there is only one,
// it is the error. So is a search that breaks off: a [Result] without an error has asked everything to its end.
func (s *Source) Read(ctx context.Context, before inventory.Before, emit func(inventory.Record) error) (Result, error) {
	r := &reading{Source: s, before: before, emit: emit, objects: map[string]*object{}, next: cursor{Version: cursorVersion, Scope: s.scope(), Domains: map[string]mark{}},
		Result: Result{Source: s.Name(), LeftOut: map[string]int{}, left: map[string]inventory.LeftOut{}, Missing: map[string]error{}, groups: map[string]string{}}}
	r.at = time.Now().UTC()
	if s.now != nil {
		r.at = s.now()
	}
	defer r.close()
	if err := r.run(ctx); err != nil {
		return r.Result, fmt.Errorf("read %s: %w", r.Result.Source, err)
	}
	return r.Result, nil
}

// errNoMachine is what a caller may test for.
var errNoMachine = errors.New("no such machine in the directory")
