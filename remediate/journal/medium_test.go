package journal_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/route"
)

func TestResultsByMediumCountOnce(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path)
	s := create(t, j, testPlan(t, 4), nil)
	must(t, s.Lease(id(0), id(1), id(2)), s.Begin(id(0), 1), s.Begin(id(1), 1),
		s.Finish(id(0), journal.End{Outcome: journal.Fixed, Result: &agent.Result{Outcome: agent.Fixed, Changed: 1}}),
		s.Finish(id(1), journal.End{Outcome: journal.Clean, Result: &agent.Result{Outcome: agent.Clean}}),
		s.Finish(id(2), journal.End{Outcome: journal.Unreachable, Class: route.Unreachable, Reason: "off"}))
	fixed := agent.Result{Run: s.ID(), Outcome: agent.Fixed, Changed: 3}
	one := journal.ByMedium{Machine: id(2), Digest: "d2", Result: fixed, Text: "Repaired."}
	if _, err := j.RecordByMedium(ctx, s.ID(), []journal.ByMedium{one}); !isLocked(err) {
		t.Fatalf("while an engine works: %v", err)
	}
	must(t, s.Hold([]string{id(3)}, "gate"), s.End(journal.RunGated, "too many"), s.Close())

	failed := journal.ByMedium{Machine: id(0), Digest: "d0", Result: agent.Result{Outcome: agent.Failed}, Text: "Not repaired."}
	clean := journal.ByMedium{Machine: id(1), Digest: "d1", Result: agent.Result{Outcome: agent.Clean}, Text: "Nothing."}
	held := journal.ByMedium{Machine: id(3), Digest: "d3", Result: agent.Result{Outcome: agent.Failed}, Text: "locked"}
	got, err := j.RecordByMedium(ctx, s.ID(), []journal.ByMedium{one, failed, clean, held, one})
	must(t, err)
	for i, want := range []journal.Recorded{
		{New: true, Counted: true, Before: journal.Unreachable, Now: journal.Fixed},
		{New: true, Before: journal.Fixed, Now: journal.Fixed},
		{New: true, Before: journal.Clean, Now: journal.Clean},
		{New: true, Counted: true, Before: journal.Held, Now: journal.Failed},
		{Before: journal.Fixed, Now: journal.Fixed},
	} {
		if got[i] != want {
			t.Errorf("%d: %+v, want %+v", i, got[i], want)
		}
	}
	held.Digest, held.Result = "d3 again", fixed // the machine was started from the stick once more
	for round := range 2 {
		got, err = j.RecordByMedium(ctx, s.ID(), []journal.ByMedium{one, held})
		must(t, err)
		if got[0].New || got[1].New != (round == 0) || got[1].Now != journal.Fixed {
			t.Errorf("round %d: %+v", round, got)
		}
	}
	run, err := j.Run(ctx, s.ID())
	must(t, err)
	if run.Counts[journal.Fixed] != 3 || run.Counts[journal.Unreachable] != 0 || run.Counts[journal.Held] != 0 || run.Counts[journal.Clean] != 1 || run.Status != journal.RunGated {
		t.Errorf("%+v", run)
	}
	machines, err := j.Machines(ctx, s.ID())
	must(t, err)
	if m := machines[2]; m.Route != "medium" || m.Changed != 3 || m.Result == nil || m.Reason != "" || m.Class != "" {
		t.Errorf("%+v", m)
	}
	events, err := j.Events(ctx, s.ID(), 0)
	must(t, err)
	n := 0
	for i, e := range events {
		if e.Seq != int64(i+1) {
			t.Fatalf("event %d has number %d", i, e.Seq)
		}
		if strings.HasPrefix(e.Text, "by medium: ") {
			n++
		}
	}
	if n != 5 {
		t.Errorf("%d events by medium", n)
	}
	bad := held
	bad.Machine, bad.Digest = "nobody", "d9"
	fresh := one
	fresh.Digest = "d8"
	if _, err := j.RecordByMedium(ctx, s.ID(), []journal.ByMedium{fresh, bad}); err == nil {
		t.Error("a machine of no run was recorded")
	}
	if got, err := j.RecordByMedium(ctx, s.ID(), []journal.ByMedium{fresh}); err != nil || !got[0].New {
		t.Errorf("half a transaction was kept: %+v, %v", got, err)
	}
	if _, err := j.RecordByMedium(ctx, "none", nil); !isNotFound(err) {
		t.Error(err)
	}
}

func isLocked(err error) bool { _, ok := errors.AsType[*journal.LockedError](err); return ok }
