// Package cases is the one place where inventory, journal and vault meet: one state for each machine of an incident.
//
// [Load] reads what the stores know into a [Book], which lays cases over machines ([Book.Case]); [Take] makes the one
// screen of an incident. Stores are joined by the inventory's IDs, through the IDs that machines had before they were
// merged. What a case means is judged by remediate/casefile when it is asked for: the package keeps no opinion, and
// nothing here changes a machine.
package cases

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/coverage"
	"github.com/fleetmend/fleetmend/internal/connect"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/casefile"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// Options say which cases are read.
type Options struct {
	Incident string // ID or the beginning of one; "": the open ones
	Keys     bool   // with the state of recovery keys, which costs reading all their references

	held bool // all machines are needed in memory afterwards
}

// Book holds the cases of one incident, or of all open ones. It changes no more once it was made, and is safe for
// concurrent use.
type Book struct {
	views   []view          // the newest incident first
	keys    []casefile.Keys // of all machines, in the order in which they were read; see keyOf
	byID    func() map[string]casefile.Keys
	exposed map[string]bool // machines whose key was shown since the incident began, and not replaced
	routes  []string
	now     time.Time
}

// view is one incident with what the journal knows of its machines.
type view struct {
	incident journal.Incident
	cases    *journal.CaseList        // by the IDs that the machines had
	merged   map[string][]string      // present ID -> former ones that have a case
	work     map[string]casefile.Work // by present IDs
}

// of is the case of a machine, whatever it was called when it was asked.
func (v *view) of(id string) (journal.Case, bool) {
	c, known := v.cases.Case(id)
	for _, old := range v.merged[id] {
		switch former, ok := v.cases.Case(old); {
		case ok && known:
			c = joined(c, former)
		case ok:
			c, known = former, true
		}
	}
	return c, known
}

// Load reads the cases. Without an incident there is a Book that has none. An incident that is not there is a
// *journal.NoIncidentError.
func Load(ctx context.Context, d *desk.Desk, o Options) (*Book, error) {
	incidents, err := which(ctx, d, o.Incident)
	if err != nil {
		return nil, err
	}
	b := &Book{now: d.Now(), routes: connect.Routes()}
	if len(incidents) == 0 {
		return b, nil
	}
	store, err := d.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	var machines func(context.Context) ([]coverage.Machine, error)
	switch {
	case o.Keys && d.HasVault():
		machines = func(ctx context.Context) (known []coverage.Machine, err error) {
			if o.held {
				err = store.Hold(ctx)
			}
			return known, errors.Join(err, store.Each(ctx, inventory.Selector{}, nil, func(m *inventory.Machine) error {
				known = append(known, Covered(m))
				return nil
			}))
		}
	case o.held:
		machines = func(ctx context.Context) ([]coverage.Machine, error) { return nil, store.Hold(ctx) }
	}
	return b, b.fill(ctx, d, incidents, o.Keys, machines)
}

// fill reads the cases of incidents, and whose recovery keys are known; machines gives all machines for that, and is called in any
// case where it is not nil. The stores are read at the same time.
func (b *Book) fill(ctx context.Context, d *desk.Desk, incidents []journal.Incident, keys bool, machines func(context.Context) ([]coverage.Machine, error)) error {
	keys = keys && d.HasVault()
	var known []coverage.Machine
	var list *bitlocker.KeyList
	err := together(ctx, func(ctx context.Context) error {
		return b.read(ctx, d, incidents)
	}, func(ctx context.Context) (err error) {
		if machines != nil {
			known, err = machines(ctx)
		}
		return err
	}, func(ctx context.Context) error {
		if !keys {
			return nil
		}
		vault, err := d.Vault(ctx)
		if err == nil {
			list, err = vault.KeyList(ctx)
		}
		return err
	})
	if err == nil && keys {
		b.keys, err = states(known, list)
		b.byID = sync.OnceValue(func() map[string]casefile.Keys {
			of := make(map[string]casefile.Keys, len(known))
			for n, state := range b.keys {
				if state != "" {
					of[known[n].ID] = state
				}
			}
			return of
		})
	}
	if err == nil && keys && len(b.views) == 1 { // of several incidents nobody asks what comes next
		b.exposed, err = exposed(ctx, d, known, &b.views[0].incident)
	}
	return err
}

// keyOf is what is known of the recovery key of a machine; empty where that is nothing, or was not read.
func (b *Book) keyOf(id string) casefile.Keys {
	if b.byID == nil {
		return ""
	}
	return b.byID()[id]
}

// together does things at the same time and waits for all of them; the first that fails ends the others.
func together(ctx context.Context, things ...func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, do := range things {
		wg.Go(func() {
			if err := do(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (b *Book) read(ctx context.Context, d *desk.Desk, incidents []journal.Incident) error {
	store, err := d.Inventory(ctx)
	if err != nil {
		return err
	}
	present, err := store.Canonical(ctx)
	if err != nil {
		return err
	}
	j, err := d.Journal(ctx)
	if err != nil {
		return err
	}
	for _, i := range incidents {
		v, err := read(ctx, j, i, present)
		if err != nil {
			return err
		}
		b.views = append(b.views, v)
	}
	return nil
}

func read(ctx context.Context, j *journal.Journal, i journal.Incident, present map[string]string) (view, error) {
	v := view{incident: i}
	var err error
	if v.cases, err = j.CaseList(ctx, i.ID); err != nil {
		return v, err
	}
	return v, v.join(ctx, j, present)
}

// join finds the machines that had other IDs, and who is at work on which.
func (v *view) join(ctx context.Context, j *journal.Journal, present map[string]string) error {
	v.merged, v.work = map[string][]string{}, map[string]casefile.Work{}
	for _, old := range slices.Sorted(maps.Keys(present)) {
		if _, known := v.cases.Case(old); known {
			v.merged[present[old]] = append(v.merged[present[old]], old)
		}
	}
	unfinished, err := j.Unfinished(ctx, v.incident.ID)
	if err != nil {
		return err
	}
	for _, u := range unfinished {
		id := u.Machine
		if now, merged := present[id]; merged {
			id = now
		}
		if known := v.work[id]; !known.Live && (u.Live || !known.Begun) {
			v.work[id] = casefile.Work{Run: u.Run, Live: u.Live, Begun: u.Begun}
		}
	}
	return nil
}

// joined is the case of a machine that had two: of each part the newer one.
func joined(a, b journal.Case) journal.Case {
	if b.Answer.Number > a.Answer.Number {
		a.Answer = b.Answer
	}
	if b.Tried.Number > a.Tried.Number {
		a.Tried = b.Tried
	}
	if b.Mark.Number > a.Mark.Number {
		a.Mark = b.Mark
	}
	a.Number = max(a.Number, b.Number)
	return a
}

// Incidents are all of them, open ones first.
func Incidents(ctx context.Context, d *desk.Desk) ([]journal.Incident, error) {
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	return j.Incidents(ctx)
}

// IDs are the IDs of all incidents, for completion.
func IDs(ctx context.Context, d *desk.Desk) ([]string, error) {
	all, err := Incidents(ctx, d)
	words := make([]string, 0, len(all))
	for _, i := range all {
		words = append(words, i.ID)
	}
	return words, err
}

// which finds the incident that is meant; none given: the open ones.
func which(ctx context.Context, d *desk.Desk, name string) ([]journal.Incident, error) {
	all, err := Incidents(ctx, d)
	if err != nil {
		return nil, err
	}
	if name != "" {
		i, err := resolve(all, name)
		return []journal.Incident{i}, err
	}
	return slices.DeleteFunc(all, func(i journal.Incident) bool { return !i.IsOpen() }), nil
}

func resolve(all []journal.Incident, name string) (journal.Incident, error) {
	var fitting []journal.Incident
	var ids []string
	for _, i := range all {
		ids = append(ids, i.ID)
		if i.ID == name {
			return i, nil
		}
		if strings.HasPrefix(i.ID, name) {
			fitting = append(fitting, i)
		}
	}
	switch {
	case len(fitting) == 1:
		return fitting[0], nil
	case len(fitting) > 1:
		return journal.Incident{}, hint.Mistake(fmt.Errorf("%q is the beginning of %d incidents: %s", name, len(fitting), list(fitting)), "give more of its ID")
	}
	err := &journal.NoIncidentError{ID: name}
	switch near := hint.Nearest(name, ids); {
	case near != "":
		return journal.Incident{}, hint.Mistake(err, "did you mean %s?", near)
	case len(all) == 0:
		return journal.Incident{}, hint.Mistake(err, "there is none yet: the first run of a cure opens one, or do it with `fleetmend incident open --playbook NAME`")
	}
	return journal.Incident{}, hint.Mistake(err, "there are %s", list(all))
}

func list(all []journal.Incident) string {
	var names []string
	for _, i := range all[:min(len(all), 10)] {
		names = append(names, i.ID+" ("+i.Playbook+")")
	}
	return strings.Join(names, ", ")
}

// One is the incident that is meant: the one named, or the only open one. Where several are open it asks which.
func One(ctx context.Context, d *desk.Desk, name string) (journal.Incident, error) {
	found, err := which(ctx, d, name)
	switch {
	case err != nil:
		return journal.Incident{}, err
	case len(found) == 0:
		return journal.Incident{}, hint.Mistake(errors.New("no incident is open"), "the first run of a cure opens one, or do it with `fleetmend incident open --playbook NAME`; `fleetmend incident list` shows closed ones")
	case len(found) > 1:
		return journal.Incident{}, several(found)
	}
	return found[0], nil
}

func several(open []journal.Incident) error {
	return hint.Mistake(fmt.Errorf("%d incidents are open: %s", len(open), list(open)), "say which with --incident, such as --incident %[1]s; incident status, report and close take it as it is: `fleetmend incident status %[1]s`", open[0].ID)
}

// Overlay lays the cases over machines; nil where there are none.
func (b *Book) Overlay() inventory.Overlay {
	if b == nil || len(b.views) == 0 {
		return nil
	}
	return b
}

// Incidents are those of the book.
func (b *Book) Incidents() []journal.Incident {
	var all []journal.Incident
	for i := range b.views {
		all = append(all, b.views[i].incident)
	}
	return all
}

// Case is the case of a machine; of several incidents only health and verdict of the one where it stands worst.
func (b *Book) Case(m *inventory.Machine) *inventory.Case {
	switch len(b.views) {
	case 0:
		return nil
	case 1:
		return shown(&b.views[0].incident, b.views[0].judge(b, m))
	}
	var worst *inventory.Case
	for i := range b.views {
		c := b.views[i].judge(b, m)
		if worst == nil || rank(c.Verdict) < rank(casefile.Verdict(worst.Verdict)) {
			worst = &inventory.Case{Incident: b.views[i].incident.ID, Verdict: string(c.Verdict), Because: b.views[i].incident.ID + ": " + c.Because,
				Since: c.Since, Health: inventory.Health(c.Health()), Out: c.Out}
		}
	}
	return worst
}

func rank(v casefile.Verdict) int { return slices.Index(casefile.Verdicts(), v) }

func shown(i *journal.Incident, c casefile.Case) *inventory.Case {
	return &inventory.Case{
		Incident: i.ID, Verdict: string(c.Verdict), Because: c.Because, Since: c.Since, Health: inventory.Health(c.Health()), Out: c.Out,
		Route: c.Route.Name, RouteWhy: c.Route.Why, Keys: string(c.Keys), Next: string(c.Next.Verb), NextWhy: c.Next.Why,
	}
}

// Only is the ID of the book's incident; empty where it has none or several.
func (b *Book) Only() string {
	if len(b.views) == 1 {
		return b.views[0].incident.ID
	}
	return ""
}

// Judge judges a machine in the incident of the book, or in none where it has none or several.
func (b *Book) Judge(m *inventory.Machine) casefile.Case {
	if len(b.views) != 1 {
		return casefile.Judge(casefile.Window{}, b.facts(m), b.now)
	}
	return b.views[0].judge(b, m)
}

// Outside judges a machine outside of every incident: how it is reached.
func Outside(m *inventory.Machine, now time.Time) casefile.Case {
	b := &Book{now: now, routes: connect.Routes()}
	return b.Judge(m)
}

// Select returns the machines of a selector with their cases. A selector over case.* needs one incident: where several are
// open and none is named that is a mistake which names them.
func Select(ctx context.Context, d *desk.Desk, selector inventory.Selector, o Options) ([]inventory.Machine, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(200)) // as for a status
	store, b, err := over(ctx, d, selector, o)
	if err != nil {
		return nil, err
	}
	return store.SelectWith(ctx, selector, b.Overlay())
}

// over loads what a selector needs, and refuses one that asks for the cases of several incidents.
func over(ctx context.Context, d *desk.Desk, selector inventory.Selector, o Options) (*inventory.Store, *Book, error) {
	_, uses := selector.UsesCases()
	o.Keys, o.held = o.Keys || uses, true
	b, err := Load(ctx, d, o)
	if err != nil {
		return nil, nil, err
	}
	if uses && len(b.views) > 1 {
		return nil, nil, several(b.Incidents())
	}
	store, err := d.Inventory(ctx)
	return store, b, err
}

// Parse reads a selector; "" is all. A selector that is none is a mistake.
func Parse(text string, stdin io.Reader) (inventory.Selector, error) {
	if text == "" {
		text = "all"
	}
	parsed, err := inventory.ParseSelector(text, stdin)
	if err != nil {
		return parsed, &hint.MistakeError{Err: err}
	}
	return parsed, nil
}
