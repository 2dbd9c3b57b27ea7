package ad

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/inventory"
)

// How long readings of changes may follow each other. What they cannot see, changed rights on single attributes above
// all, waits no longer than that.
const (
	wholeAge   = 7 * 24 * time.Hour
	wholeCount = 20
)

const cursorVersion = 2

// cursor is what a reading leaves for the next one.
type cursor struct {
	Version int             `json:"v"`
	Scope   string          `json:"scope"`
	Whole   time.Time       `json:"whole"`   // when everything was read last
	Changes int             `json:"changes"` // readings since then
	Domains map[string]mark `json:"domains"`
}

// mark names a copy of the directory and how far it was, before anything was asked. Update sequence numbers are
// comparable only within one copy (MS-ADTS 3.1.1.1.9).
type mark struct {
	Invocation string `json:"invocation"`
	USN        int64  `json:"usn"`
}

// scope describes what is read, so that another scope starts anew.
func (s *Source) scope() string {
	return fmt.Sprintf("%q %q forest=%t disabled=%t", s.Bases, s.Groups, s.Forest, s.Disabled)
}

// reading is one Read.
type reading struct {
	*Source
	Result
	before  inventory.Before
	prev    cursor
	next    cursor
	emit    func(inventory.Record) error
	domains []*domain
	objects map[string]*object // that answered, by key
	wanted  []string           // groups that limit the scope: distinguished names in lower case
}

func (r *reading) close() {
	for _, d := range r.domains {
		_ = d.conn.Close() // nothing was written
	}
}

func (r *reading) run(ctx context.Context) error {
	if err := r.connect(ctx); err != nil {
		return err
	}
	r.Full = r.before.Cursor == ""
	if !r.Full {
		r.Why = r.whyWhole()
		r.Full = r.Why != ""
	}
	if err := r.readGroups(ctx); err != nil {
		return err
	}
	if !r.Full || len(r.wanted) > 0 { // of a group, its members alone are read whole
		if err := r.each(ctx, (*domain).call); err != nil {
			return err
		}
		if !r.Full {
			r.Why = r.strange()
			r.Full = r.Why != ""
		}
	}
	if r.Full && len(r.wanted) == 0 {
		clear(r.objects)
		if err := r.each(ctx, (*domain).readAll); err != nil {
			return err
		}
	} else if err := r.each(ctx, (*domain).readChanged); err != nil {
		return err
	}
	if err := r.each(ctx, (*domain).nameGroups); err != nil {
		return err
	}
	if err := r.conclude(); err != nil {
		return err
	}
	return r.end()
}

func (r *reading) each(ctx context.Context, do func(*domain, context.Context) error) error {
	for _, d := range r.domains {
		if err := do(d, ctx); err != nil {
			return fmt.Errorf("ask %s: %w", d.conn.DC, err)
		}
	}
	return nil
}

func (r *reading) connect(ctx context.Context) error {
	first, err := directory.Dial(ctx, r.Config)
	if err != nil {
		return err
	}
	r.add(ctx, first)
	if !r.Forest {
		return nil
	}
	partitions, err := first.Domains(ctx)
	if err != nil {
		return err
	}
	for _, p := range partitions {
		if strings.EqualFold(p.DN, first.Root.DefaultNamingContext) {
			continue
		}
		c, err := directory.Dial(ctx, first.Config(p.DNS))
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case directory.KindOf(err) == directory.WrongPassword:
			return err // it would be tried against the next domain too
		case err != nil:
			r.Missing[domainOf(p.DN)] = err
			r.problem("domain %s was not read, and its machines stay as they are: %v", p.DNS, err)
		default:
			r.add(ctx, c)
		}
	}
	return nil
}

// add takes a connection; its mark is that of the root, which was read before anything else.
func (r *reading) add(ctx context.Context, c *directory.Conn) {
	d := &domain{reading: r, conn: c, name: domainOf(c.Root.DefaultNamingContext), edges: map[string][]string{}, rids: map[string]string{}, members: map[string]*membership{}}
	r.domains = append(r.domains, d)
	r.DCs = append(r.DCs, c.DC.String())
	id, err := c.InvocationID(ctx)
	if err != nil { // without it the next reading is a whole one
		r.problem("%s: %v", c.DC, err)
	}
	d.mark = mark{id, c.Root.HighestUSN}
	r.next.Domains[d.name] = d.mark
	if head, err := c.Get(ctx, c.Root.DefaultNamingContext, "objectSid"); err == nil && head != nil {
		d.sid, _ = directory.SID(head.Bytes("objectSid"))
	}
	if d.sid == "" {
		r.problem("%s does not show the SID of its domain; primary groups are not seen", c.DC)
	}
	switch locks, err := Lockouts(ctx, c, r.Accounts); {
	case err == nil:
		locks.ReadAt = r.at
		r.locks = append(r.locks, locks)
	case ctx.Err() == nil:
		r.problem("when accounts are locked is not known: %v", err)
	}
}

// whyWhole says why what is known from the last reading is not enough to tell what changed; empty where it is.
func (r *reading) whyWhole() string {
	switch err := json.Unmarshal([]byte(r.before.Cursor), &r.prev); {
	case err != nil || r.prev.Version != cursorVersion:
		return "the note of the last reading is of another version"
	case r.prev.Scope != r.next.Scope:
		return "the scope is another than last time"
	case r.at.Sub(r.prev.Whole) >= wholeAge:
		return fmt.Sprintf("the last whole reading was %d days ago", int(r.at.Sub(r.prev.Whole).Hours()/24))
	case r.prev.Whole.After(r.at):
		return "the last whole reading is noted for a time to come"
	case r.prev.Changes >= wholeCount:
		return fmt.Sprintf("%d readings since the last whole one were of changes", r.prev.Changes)
	}
	for _, d := range r.domains {
		switch was := r.prev.Domains[d.name]; {
		case was.Invocation == "" || was.Invocation != d.mark.Invocation:
			return "another domain controller answers for " + d.name
		case was.USN > d.mark.USN:
			return d.conn.DC.String() + " was set back to an earlier state"
		}
	}
	return ""
}

// strange says what the roll shows and no change explains: computers that are new to us and old to the directory. There
// are new rights, and with them what we see of others may have changed.
func (r *reading) strange() string {
	if len(r.wanted) > 0 { // who joins a group has not changed himself
		return ""
	}
	n := 0
	for _, o := range r.objects {
		_, left := r.before.LeftOut[o.key]
		if _, known := r.before.Stamps[o.key]; !known && !left && o.usn <= r.prev.Domains[o.domain.name].USN {
			n++
		}
	}
	switch {
	case n == 1:
		return "a computer is visible that was not before, and did not change: there are new rights"
	case n > 1:
		return fmt.Sprintf("%d computers are visible that were not before, and did not change: there are new rights", n)
	}
	return ""
}

// conclude emits the records and finds out who is gone.
func (r *reading) conclude() error {
	var read []string
	for key, o := range r.objects {
		if !o.inScope() {
			continue
		}
		if left, ok := r.before.LeftOut[key]; !o.read && ok {
			r.leave(key, left)
			continue
		}
		if o.leftOut != "" {
			r.leave(key, inventory.LeftOut{Why: o.leftOut, Stamp: o.stamp()})
			continue
		}
		r.Called++
		if o.read {
			read = append(read, key)
		}
	}
	r.Machines = len(read)
	slices.Sort(read)
	for _, record := range r.records(read) {
		if err := r.emit(record); err != nil {
			return err
		}
	}
	for key, stamp := range r.before.Stamps {
		o := r.objects[key]
		if _, left := r.left[key]; o != nil && o.inScope() && !left {
			continue
		}
		name, _, noted := strings.Cut(stamp, " ")
		if _, missing := r.Missing[name]; missing || !noted && len(r.Missing) > 0 {
			r.unread = append(r.unread, key)
			continue
		}
		r.Gone = append(r.Gone, key)
	}
	slices.Sort(r.Gone)
	slices.Sort(r.unread)
	if len(r.Missing) == 0 {
		return nil
	}
	for key, left := range r.before.LeftOut {
		if name, _, _ := strings.Cut(left.Stamp, " "); r.Missing[name] != nil {
			r.leave(key, left)
		}
	}
	r.Result.groups = nil // those of the missing domains are not known
	return nil
}

// records makes the records of some computers, on all processors. Their groups are known by now.
func (r *reading) records(keys []string) []inventory.Record {
	for _, key := range keys {
		r.objects[key].membership()
	}
	out := make([]inventory.Record, len(keys))
	var running sync.WaitGroup
	each := max(1, (len(keys)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	for from := 0; from < len(keys); from += each {
		running.Go(func() {
			for i := from; i < min(from+each, len(keys)); i++ {
				out[i] = r.objects[keys[i]].record()
			}
		})
	}
	running.Wait()
	return out
}

func (r *reading) leave(key string, l inventory.LeftOut) {
	r.left[key] = l
	r.LeftOut[l.Why]++
}

// end writes the cursor for the next reading.
func (r *reading) end() error {
	for name := range r.Missing { // what was missed must not count as read
		if was, ok := r.prev.Domains[name]; ok {
			r.next.Domains[name] = was
		}
	}
	r.next.Whole, r.next.Changes = r.at, 0
	if !r.Full {
		r.next.Whole, r.next.Changes = r.prev.Whole, r.prev.Changes+1
		due := r.next.Whole.Add(wholeAge)
		r.Unseen = fmt.Sprintf("a change of rights on single attributes shows at the next whole reading only: after %d more, or on %s, or with --full",
			wholeCount-r.next.Changes, due.UTC().Format(time.DateOnly))
	}
	if r.Forest && len(r.domains)+len(r.Missing) > 1 {
		r.problem("membership in domain-local groups of another domain than the machine's own is not seen")
	}
	text, err := json.Marshal(r.next)
	r.Cursor = string(text)
	return err
}
