package cases_test

import (
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/casefile"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// Each store keeps what it holds packed after the first status. A status shows each change of any store at once all the same.
func TestAStatusShowsEveryChangeAtOnce(t *testing.T) {
	b := newBench(t, 8)
	ctx := t.Context()
	vault, err := b.Vault(ctx)
	b.must(err)
	key := func(name string) bitlocker.KeyRef {
		return bitlocker.KeyRef{ID: bitlocker.KeyID("00000000-0000-4000-8000-000000" + name + "0"), Source: "ad:x", SourceKey: name, Machine: bitlocker.Machine{Name: name}}
	}
	b.must(vault.Add(ctx, key("WS000")))
	b.run(trouble, agent.Detect, "", journal.Affected, journal.Affected, journal.Clean, journal.Affected, journal.Unreachable, journal.Unreachable)
	before := b.status()
	if again := b.status(); again.Left != before.Left || again.Number != before.Number || before.Left != 3 || before.Keys[casefile.KnownKey] != 1 {
		t.Fatalf("%+v\n%+v", before, again)
	}
	fixed := ""
	for _, change := range []struct {
		what string
		do   func() error
		seen func(was, is *cases.Status) bool
	}{
		{"a probe", func() error {
			return b.store.SetProbe(ctx, b.ids[2], inventory.ProbeResult{At: time.Now().Add(time.Second)})
		}, func(was, is *cases.Status) bool {
			return is.Verdicts[casefile.Suspect] == was.Verdicts[casefile.Suspect]+1
		}},
		{"a key", func() error { return vault.Add(ctx, key("WS001")) },
			func(was, is *cases.Status) bool { return is.Keys[casefile.KnownKey] == was.Keys[casefile.KnownKey]+1 }},
		{"a field", func() error { return b.store.SetField(ctx, b.ids[1], "site", "SIN") },
			func(was, is *cases.Status) bool { return len(is.Sites) == len(was.Sites)+1 }},
		{"a source", func() error {
			_, err := b.store.Import(ctx, "csv", []inventory.Record{{Source: "csv", SourceKey: "new", Fields: map[string]string{"name": "NEW", "site": "LON"}}})
			return err
		}, func(was, is *cases.Status) bool { return is.Machines == was.Machines+1 }},
		{"a mark", func() error {
			_, err := b.journal.Mark(ctx, trouble, b.ids[3:4], journal.MarkExcluded, "lab", "ada")
			return err
		}, func(was, is *cases.Status) bool { return is.Out["excluded"] == 1 && is.Machines == was.Machines-1 }},
		{"a mark taken back", func() error {
			_, err := cases.Unmark(ctx, b.Desk, trouble, 0)
			return err
		}, func(was, is *cases.Status) bool { return is.Out["excluded"] == 0 && is.Machines == was.Machines+1 }},
		{"a run", func() error { fixed = b.run(trouble, agent.Fix, "", journal.Fixed); return nil },
			func(was, is *cases.Status) bool { return is.Verdicts[casefile.Fixed] == 1 && is.Left == was.Left-1 }},
		{"an undo", func() error { b.run(trouble, agent.Undo, fixed, journal.Undone); return nil },
			func(was, is *cases.Status) bool { return is.Verdicts[casefile.Undone] == 1 && is.Left == was.Left+1 }},
	} {
		b.must(change.do())
		after := b.status()
		if !change.seen(before, after) {
			t.Errorf("%s is not seen: %+v\nbefore it: %+v", change.what, after, before)
		}
		before = after
	}
}
