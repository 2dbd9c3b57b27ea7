package ad

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/inventory"
)

// Source is a domain or a forest. The zero scope is every enabled Windows computer of the domain.
type Source struct {
	Config directory.Config
	Bases  []string // distinguished names of OUs; empty: the domain
	// Groups are distinguished names; members of members count. Membership by primary group (Domain Computers) is not
	// seen, because AD does not list it.
	Groups   []string
	Forest   bool // every domain of the forest, one domain controller each
	Disabled bool // disabled accounts too
	// SeenWithin leaves out machines not seen for longer; those never seen are kept. Below 45 days it says little: AD
	// notes a logon only every 9 to 14 days. 0: no limit.
	SeenWithin time.Duration

	now func() time.Time
}

// Name is the name of the source in the inventory.
func (s *Source) Name() string { return "ad:" + strings.ToLower(strings.Trim(s.Config.Domain, ".")) }

// Result says what a reading gave besides its records.
type Result struct {
	Source string `json:"source"`
	// Full: every machine of the scope was read, so what is missing is gone ([inventory.Store.Sync]). Otherwise the
	// records are changes, and Gone the keys of those that left.
	Full      bool           `json:"full"`
	Why       string         `json:"why,omitempty"` // why it was full although a cursor was given
	Cursor    string         `json:"cursor,omitempty"`
	Gone      []string       `json:"gone,omitempty"`
	Machines  int            `json:"machines"`
	LeftOut   map[string]int `json:"left_out,omitempty"` // reason -> computers
	Problems  []string       `json:"problems,omitempty"` // values that could not be read; the machine is kept
	Referrals []string       `json:"referrals,omitempty"`
	// Missing are domains of the forest that could not be read. Nothing of theirs is marked as gone.
	Missing map[string]error `json:"-"`
	DCs     []string         `json:"dcs"`
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

// cursor is where an incremental reading goes on: update sequence numbers, each valid on one copy of the directory.
type cursor struct {
	Version int             `json:"v"`
	Scope   string          `json:"scope"`
	Domains map[string]mark `json:"domains"`
}

type mark struct {
	Invocation string `json:"invocation"`
	USN        int64  `json:"usn"`
}

// scope describes what is read, so that another scope starts anew.
func (s *Source) scope() string {
	return fmt.Sprintf("%q %q forest=%t disabled=%t seen=%s", s.Bases, s.Groups, s.Forest, s.Disabled, s.SeenWithin)
}

// narrow: what leaves the scope does so without a change of its own, so only a full reading notices.
func (s *Source) narrow() bool { return len(s.Bases) > 0 || len(s.Groups) > 0 || s.SeenWithin > 0 }

// Sync reads the domain and brings the store up to date: what changed since the last time, or everything with full,
// with a narrower scope, or when another domain controller answers.
func (s *Source) Sync(ctx context.Context, store *inventory.Store, full bool) (Result, inventory.ImportReport, error) {
	since := ""
	if !full {
		known, err := store.Sources(ctx)
		if err != nil {
			return Result{}, inventory.ImportReport{}, err
		}
		for _, k := range known {
			if k.Source == s.Name() {
				since = k.Cursor
			}
		}
	}
	var records []inventory.Record
	res, err := s.Read(ctx, since, func(r inventory.Record) error { records = append(records, r); return nil })
	if err != nil {
		return res, inventory.ImportReport{}, err
	}
	var report inventory.ImportReport
	if res.Full {
		report, err = store.Sync(ctx, s.Name(), records)
	} else if report, err = store.Import(ctx, s.Name(), records); err == nil && len(res.Gone) > 0 {
		var gone inventory.ImportReport
		gone, err = store.MarkGone(ctx, s.Name(), res.Gone)
		report.Gone += gone.Gone
	}
	if err == nil {
		err = store.SetCursor(ctx, s.Name(), res.Cursor)
	}
	return res, report, err
}

// Read emits a record for each machine. since is the Cursor of an earlier [Result], or empty for all. A domain of a
// forest that cannot be read is reported in Missing and the others are read; if there is only one, it is the error.
func (s *Source) Read(ctx context.Context, since string, emit func(inventory.Record) error) (Result, error) {
	r := &reading{Source: s, emit: emit, seen: map[string]bool{}, next: cursor{1, s.scope(), map[string]mark{}},
		Result: Result{Source: s.Name(), LeftOut: map[string]int{}, Missing: map[string]error{}}}
	r.at = time.Now().UTC()
	if s.now != nil {
		r.at = s.now()
	}
	err := r.run(ctx, since)
	return r.Result, err
}

// reading is one Read.
type reading struct {
	*Source
	Result
	emit  func(inventory.Record) error
	at    time.Time
	seen  map[string]bool
	conns []*directory.Conn
	next  cursor
	prev  cursor
}

func (r *reading) run(ctx context.Context, since string) error {
	defer func() {
		for _, c := range r.conns {
			_ = c.Close()
		}
	}()
	first, err := directory.Dial(ctx, r.Config)
	if err != nil {
		return fmt.Errorf("read %s: %w", r.Result.Source, err)
	}
	r.conns = append(r.conns, first)
	if r.Forest {
		if err := r.forest(ctx, first); err != nil {
			return fmt.Errorf("read %s: %w", r.Result.Source, err)
		}
	}
	r.Full = true
	if since != "" {
		if r.Why = r.fits(since); r.Why == "" {
			r.Full = false
		}
	}
	for _, c := range r.conns {
		id, err := c.InvocationID(ctx)
		if err != nil { // without it the next reading is a full one
			r.problem("%s: %v", c.DC, err)
		}
		r.DCs = append(r.DCs, c.DC.String())
		r.next.Domains[domainOf(c.Root.DefaultNamingContext)] = mark{id, c.Root.HighestUSN}
	}
	if !r.Full {
		for d, m := range r.next.Domains {
			if was := r.prev.Domains[d]; was.Invocation == "" || was.Invocation != m.Invocation || was.USN > m.USN {
				r.Full, r.Why = true, "another domain controller answers for "+d
			}
		}
	}
	for _, c := range r.conns {
		if err := r.domain(ctx, c); err != nil {
			return fmt.Errorf("read %s from %s: %w", r.Result.Source, c.DC, err)
		}
	}
	if len(r.Missing) > 0 {
		r.Full = false
		return nil // and no cursor: what was missed must not count as read
	}
	text, err := json.Marshal(r.next)
	r.Cursor = string(text)
	return err
}

// fits reads the cursor and says why it cannot be used.
func (r *reading) fits(since string) string {
	switch err := json.Unmarshal([]byte(since), &r.prev); {
	case err != nil || r.prev.Version != 1:
		return "the note of the last reading is of another version"
	case r.prev.Scope != r.next.Scope:
		return "the scope is another than last time"
	case r.narrow():
		return "only a full reading notices what left the scope"
	}
	return ""
}

func (r *reading) forest(ctx context.Context, first *directory.Conn) error {
	domains, err := first.Domains(ctx)
	if err != nil {
		return err
	}
	for _, d := range domains {
		if strings.EqualFold(d.DN, first.Root.DefaultNamingContext) {
			continue
		}
		c, err := directory.Dial(ctx, first.Config(d.DNS))
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case directory.KindOf(err) == directory.WrongPassword:
			return err // it would be tried against the next domain too
		case err != nil:
			r.Missing[d.DNS] = err
			r.problem("domain %s was not read: %v", d.DNS, err)
		default:
			r.conns = append(r.conns, c)
		}
	}
	return nil
}

func (r *reading) domain(ctx context.Context, c *directory.Conn) error {
	bases, err := r.bases(ctx, c)
	if err != nil {
		return err
	}
	filter := r.filter(c)
	for _, base := range bases {
		sum, err := c.Search(ctx, directory.Query{Base: base, Filter: filter, Attributes: attributes}, r.take)
		r.Referrals = append(r.Referrals, sum.Referrals...)
		if err != nil {
			return err
		}
	}
	if r.Full {
		return nil
	}
	_, err = c.Search(ctx, directory.Query{Filter: fmt.Sprintf("(&(isDeleted=TRUE)(objectClass=computer)(uSNChanged>=%d))", r.since(c)),
		Attributes: []string{"objectGUID"}, Deleted: true}, func(e *directory.Entry) error {
		if id, err := directory.GUID(e.Bytes("objectGUID")); err == nil {
			r.Gone = append(r.Gone, id)
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		r.problem("deleted machines could not be asked for (%v); a full reading notices them", err)
		return nil
	}
	return err
}

func (r *reading) since(c *directory.Conn) int64 {
	return r.prev.Domains[domainOf(c.Root.DefaultNamingContext)].USN + 1
}

// bases gives where to search, and checks that groups exist: a filter with a wrong name would find nothing in silence.
func (r *reading) bases(ctx context.Context, c *directory.Conn) ([]string, error) {
	for _, g := range r.Groups {
		e, err := c.Get(ctx, g, "objectClass")
		if err != nil && directory.KindOf(err) != directory.ReferralOnly {
			return nil, err
		}
		if e == nil && len(r.conns) == 1 {
			return nil, hint.Wrap(fmt.Errorf("there is no group %q", g), "write its distinguished name, as CN=Tills,OU=Groups,"+c.Root.DefaultNamingContext)
		}
	}
	if len(r.Bases) == 0 {
		return []string{c.Root.DefaultNamingContext}, nil
	}
	var out []string
	for _, b := range r.Bases {
		if len(r.conns) == 1 || strings.HasSuffix(strings.ToLower(b), strings.ToLower(c.Root.DefaultNamingContext)) {
			out = append(out, b)
		}
	}
	return out, nil
}

// errNoMachine is what a caller may test for.
var errNoMachine = errors.New("no such machine in the directory")
