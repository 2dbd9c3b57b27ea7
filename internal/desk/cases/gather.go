package cases

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/fleetmend/fleetmend/bitlocker/coverage"
	"github.com/fleetmend/fleetmend/internal/connect"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/casefile"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// gather reads the cases of an incident, and of the machines of a selector what judging needs: once through the inventory and
// without holding a machine of it, for there may be 50,000.
func gather(ctx context.Context, d *desk.Desk, i *journal.Incident, selector inventory.Selector) (*Book, []casefile.Facts, error) {
	store, err := d.Inventory(ctx)
	if err != nil {
		return nil, nil, err
	}
	n, err := store.About(ctx)
	if err != nil {
		return nil, nil, err
	}
	if selector.String() != "all" { // whose a key is depends on all machines: they are read before those that are meant
		b, err := Load(ctx, d, Options{Incident: i.ID, Keys: true})
		if err != nil {
			return nil, nil, err
		}
		picked := inventory.Overlay(nil) // judged once, by the caller; a selector that asks for cases judges by itself
		if health, uses := selector.UsesCases(); health || uses {
			picked = b
		}
		g := gathered{b: b, texts: map[string]string{}}
		err = store.Each(ctx, selector, picked, g.add)
		return b, g.facts, err
	}
	b := &Book{now: d.Now(), routes: connect.Routes()}
	g := gathered{b: b, texts: map[string]string{}, facts: make([]casefile.Facts, 0, n), machines: make([]coverage.Machine, 0, n)}
	err = b.fill(ctx, d, []journal.Incident{*i}, true, func(ctx context.Context) ([]coverage.Machine, error) {
		err := store.Each(ctx, selector, nil, g.add)
		return g.machines, err
	})
	for n, state := range b.keys {
		if state != "" {
			g.facts[n].Keys = state
		}
	}
	for n := range g.facts {
		if len(b.exposed) == 0 {
			break
		}
		g.facts[n].Exposed = b.exposed[g.facts[n].ID]
	}
	return b, g.facts, err
}

// judgeAll calls each with the case of every machine, in their order. They are judged on all processors, some at a time, and each is
// called meanwhile with those before.
func (v *view) judgeAll(b *Book, facts []casefile.Facts, each func([]casefile.Case) error) error {
	const some = 1000
	workers := runtime.GOMAXPROCS(0)
	judged, before := make([]casefile.Case, some*workers), make([]casefile.Case, some*workers)
	ready := 0
	for part := range slices.Chunk(facts, len(judged)) {
		var wg sync.WaitGroup
		for from := 0; from < len(part); from += some {
			wg.Go(func() {
				for n := from; n < min(from+some, len(part)); n++ {
					judged[n] = v.judgeFacts(b, part[n])
				}
			})
		}
		err := each(before[:ready])
		wg.Wait()
		if err != nil {
			return err
		}
		judged, before, ready = before, judged, len(part)
	}
	return each(before[:ready])
}

// gathered are the facts of machines, and who they are, without the memory that the machines lay in.
type gathered struct {
	b        *Book
	texts    map[string]string
	facts    []casefile.Facts
	machines []coverage.Machine
}

func (g *gathered) add(m *inventory.Machine) error {
	f, c := g.b.facts(m), Covered(m)
	for _, text := range []*string{&f.Site, &f.Class, &f.Encrypted, &f.Said, &f.SaidReason} { // few values, many machines
		*text = shared(g.texts, *text)
	}
	g.facts, g.machines = append(g.facts, f), append(g.machines, c)
	return nil
}

// shared is the one copy of a text.
func shared(texts map[string]string, text string) string {
	if text == "" {
		return ""
	}
	one, known := texts[text]
	if !known {
		one = strings.Clone(text)
		texts[one] = one
	}
	return one
}
