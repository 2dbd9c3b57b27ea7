package cases

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/connect"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/remediate/casefile"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// Watch follows an incident across all three stores: its cases by the numbers of the feed, so that none is lost to whoever is slow, and
// whether machines, keys or runs changed otherwise. What other processes do counts as what this one does. It is for one goroutine.
//
// [Watch.Load] gives all cases, [Watch.Next] waits for what changes after them. After a change that says Again the cases are to be
// loaded once more.
type Watch struct {
	desk     *desk.Desk
	incident journal.Incident
	every    time.Duration

	machines, keys, runs watcher // keys: nil while there is no vault
	book                 *Book
}

// watcher is what the stores give.
type watcher interface {
	Changed(context.Context) (bool, error)
	Close() error
}

// watchEvery is how often it is looked whether something changed.
const watchEvery = time.Second

// Change is what happened since the last one.
type Change struct {
	Number int64           // of the feed: the cases are as of it
	Cases  []casefile.Case // that runs, media or marks changed, by ID
	Runs   bool            // a run began, went on or ended: who waits for one may have changed too
	Again  bool            // machines, keys or the incident itself changed: what any case says may be another now
}

// NewWatch begins to watch an incident, found as by [One], but a closed one may be named.
func NewWatch(ctx context.Context, d *desk.Desk, incident string) (*Watch, error) {
	i, err := One(ctx, d, incident)
	if err != nil {
		return nil, err
	}
	w := &Watch{desk: d, incident: i, every: watchEvery}
	store, err := d.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	if w.machines, err = store.Watch(ctx); err != nil {
		return nil, err
	}
	if w.runs, err = j.Watch(ctx); err == nil {
		_, err = w.keysChanged(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// keysChanged also notices that there is a vault now.
func (w *Watch) keysChanged(ctx context.Context) (bool, error) {
	if w.keys != nil {
		return w.keys.Changed(ctx)
	}
	if !w.desk.HasVault() {
		return false, nil
	}
	vault, err := w.desk.Vault(ctx)
	if err == nil {
		w.keys, err = vault.Watch(ctx)
	}
	return true, err
}

// Close ends the watch.
func (w *Watch) Close() error {
	var errs []error
	for _, each := range []watcher{w.machines, w.runs, w.keys} {
		if each != nil {
			errs = append(errs, each.Close())
		}
	}
	return errors.Join(errs...)
}

// Load calls each with all cases of the incident, in portions and in no order, and returns the number of the feed that they are as of.
// What changes while they are read comes with the next [Watch.Next].
func (w *Watch) Load(ctx context.Context, each func([]casefile.Case) error) (int64, error) {
	for _, look := range []func(context.Context) (bool, error){w.machines.Changed, w.runs.Changed, w.keysChanged} { // before they are read
		if _, err := look(ctx); err != nil {
			return 0, err
		}
	}
	j, err := w.desk.Journal(ctx)
	if err != nil {
		return 0, err
	}
	i, err := j.Incident(ctx, w.incident.ID)
	if err != nil {
		return 0, err
	}
	w.incident = *i
	all, err := Parse("all", nil)
	if err != nil {
		return 0, err
	}
	b, facts, err := gather(ctx, w.desk, i, all)
	if err != nil {
		return 0, err
	}
	w.book = b
	v := &b.views[0]
	err = v.judgeAll(b, facts, func(judged []casefile.Case) error {
		if len(judged) == 0 {
			return nil
		}
		return each(slices.Clone(judged))
	})
	return v.cases.Number(), err
}

// Next waits until something changed after what [Watch.Load] or the last Next gave, or ctx ends.
func (w *Watch) Next(ctx context.Context) (Change, error) {
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for {
		c, err := w.look(ctx)
		if err != nil || c.Runs || c.Again || len(c.Cases) > 0 {
			return c, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return Change{}, ctx.Err()
		}
	}
}

func (w *Watch) look(ctx context.Context) (Change, error) {
	if w.book == nil {
		return Change{}, errors.New("watch an incident: its cases were not loaded yet")
	}
	v := &w.book.views[0]
	c := Change{Number: v.cases.Number()}
	var err error
	if c.Runs, err = w.runs.Changed(ctx); err != nil {
		return c, err
	}
	machines, err := w.machines.Changed(ctx)
	if err != nil {
		return c, err
	}
	keys, err := w.keysChanged(ctx)
	if err != nil {
		return c, err
	}
	c.Again = machines || keys
	if !c.Runs {
		return c, nil
	}
	j, err := w.desk.Journal(ctx)
	if err != nil {
		return c, err
	}
	i, err := j.Incident(ctx, w.incident.ID)
	if err != nil {
		return c, err
	}
	c.Again = c.Again || i.Number != w.incident.Number
	w.incident = *i
	changed, err := v.follow(ctx, w.desk, j)
	if err != nil {
		return c, err
	}
	c.Number = v.cases.Number()
	c.Cases, err = w.judged(ctx, changed)
	return c, err
}

// follow takes in what changed, and returns the present IDs of its machines.
func (v *view) follow(ctx context.Context, d *desk.Desk, j *journal.Journal) ([]string, error) {
	store, err := d.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	present, err := store.Canonical(ctx)
	if err != nil {
		return nil, err
	}
	changed, err := j.Update(ctx, v.cases)
	if err != nil {
		return nil, err
	}
	if err := v.join(ctx, j, present); err != nil {
		return nil, err
	}
	for n, id := range changed {
		if now, merged := present[id]; merged {
			changed[n] = now
		}
	}
	slices.Sort(changed)
	return slices.Compact(changed), nil
}

// judged judges some machines as of now.
func (w *Watch) judged(ctx context.Context, ids []string) ([]casefile.Case, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	store, err := w.desk.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	machines, err := store.ByID(ctx, ids...)
	if err != nil {
		return nil, err
	}
	b := *w.book
	b.now, b.routes = w.desk.Now(), connect.Routes()
	out := make([]casefile.Case, len(machines))
	for n := range machines {
		out[n] = b.views[0].judge(&b, &machines[n])
	}
	slices.SortFunc(out, func(x, y casefile.Case) int { return strings.Compare(x.ID, y.ID) })
	return out, nil
}
