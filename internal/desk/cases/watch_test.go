package cases_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/casefile"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// A window sees what another process did to each of the three stores, and of cases which.
func TestAWindowSeesWhatOthersDo(t *testing.T) {
	ctx := t.Context()
	b := newBench(t, 4)
	b.run(trouble, agent.Detect, "", journal.Affected, journal.Affected, journal.Clean)
	folder, err := b.Folder()
	b.must(err)
	window, err := desk.New(desk.Options{State: folder})
	b.must(err)
	defer window.Close()
	w, err := cases.NewWatch(ctx, window, "")
	b.must(err)
	defer w.Close()
	if _, err := w.Next(ctx); err == nil {
		t.Error("what comes after nothing")
	}
	stand := map[string]casefile.Verdict{}
	load := func() int64 {
		t.Helper()
		clear(stand)
		n, err := w.Load(ctx, func(part []casefile.Case) error {
			for _, c := range part {
				stand[c.Name] = c.Verdict
			}
			return nil
		})
		b.must(err)
		return n
	}
	next := func(what string) cases.Change {
		t.Helper()
		c, err := w.Next(ctx)
		if err != nil {
			t.Fatal(what, err)
		}
		for _, each := range c.Cases {
			stand[each.Name] = each.Verdict
		}
		return c
	}
	begin := load()
	if len(stand) != 4 || stand["WS000"] != casefile.Affected || stand["WS002"] != casefile.Clean || stand["WS003"] != casefile.Unknown {
		t.Fatalf("%v", stand)
	}
	b.run(trouble, agent.Fix, "", journal.Fixed)
	if c := next("a run"); len(c.Cases) != 1 || c.Cases[0].Verdict != casefile.Fixed || c.Cases[0].Name != "WS000" || !c.Runs || c.Again || c.Number <= begin {
		t.Errorf("a run: %+v", c)
	}
	_, err = b.journal.Mark(ctx, trouble, []string{b.ids[1], b.ids[3]}, journal.MarkFixed, "by hand", "eve")
	b.must(err)
	if c := next("marks"); len(c.Cases) != 2 || stand["WS001"] != casefile.Fixed || stand["WS003"] != casefile.Fixed {
		t.Errorf("marks: %+v", c)
	}
	_, err = b.store.Import(ctx, "csv:more", []inventory.Record{{SourceKey: "x", Fields: map[string]string{"name": "WS900"}}})
	b.must(err)
	if c := next("an import"); !c.Again || len(c.Cases) != 0 {
		t.Errorf("an import: %+v", c)
	}
	if load(); len(stand) != 5 {
		t.Errorf("%v", stand)
	}
	vault, err := b.Vault(ctx)
	b.must(err)
	if c := next("the first key"); !c.Again {
		t.Errorf("a vault: %+v", c)
	}
	load()
	b.must(vault.Add(ctx, bitlocker.KeyRef{ID: "DEADBEEF-0000-4000-8000-000000000000", Source: "csv", SourceKey: "1", Machine: bitlocker.Machine{Name: "WS000"}}))
	if c := next("a key"); !c.Again {
		t.Errorf("a key: %+v", c)
	}
	load()
	b.must(b.journal.SetWindow(ctx, trouble, time.Now().Add(-time.Hour), time.Time{}))
	if c := next("its window"); !c.Again {
		t.Errorf("the window of the incident: %+v", c)
	}
	load()
	short, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if c, err := w.Next(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nothing happened: %+v %v", c, err)
	}
}

// Whoever looks seldom gets all that changed meanwhile, each machine once and as it is now.
func TestASlowWindowLosesNothing(t *testing.T) {
	ctx := t.Context()
	b := newBench(t, 12)
	b.run(trouble, agent.Detect, "", journal.Affected)
	w, err := cases.NewWatch(ctx, b.Desk, trouble)
	b.must(err)
	defer w.Close()
	stand := map[string]casefile.Verdict{}
	fold := func(part []casefile.Case) error {
		for _, c := range part {
			stand[c.ID] = c.Verdict
		}
		return nil
	}
	_, err = w.Load(ctx, fold)
	b.must(err)
	for n := range 6 {
		for _, outcome := range []journal.Outcome{journal.Affected, journal.Fixed, journal.Failed}[:1+n%3] {
			b.run(trouble, agent.Fix, "", outcome, journal.Clean, outcome)
		}
		c, err := w.Next(ctx)
		b.must(err)
		if len(c.Cases) != 3 {
			t.Errorf("round %d: %d cases", n, len(c.Cases))
		}
		b.must(fold(c.Cases))
	}
	whole := map[string]casefile.Verdict{}
	again, err := cases.NewWatch(ctx, b.Desk, trouble)
	b.must(err)
	defer again.Close()
	_, err = again.Load(ctx, func(part []casefile.Case) error {
		for _, c := range part {
			whole[c.ID] = c.Verdict
		}
		return nil
	})
	b.must(err)
	if len(whole) != 12 {
		t.Errorf("%v", whole)
	}
	for id, verdict := range whole {
		if stand[id] != verdict {
			t.Errorf("%s: followed %s, is %s", id, stand[id], verdict)
		}
	}
}
