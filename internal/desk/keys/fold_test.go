package keys

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/route"
)

func sitDown(t *testing.T, state string) *desk.Desk {
	t.Helper()
	d, err := desk.New(desk.Options{State: state})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func keyID(n int) bitlocker.KeyID {
	return bitlocker.KeyID(fmt.Sprintf("%08X-0000-4000-8000-%012X", n, n))
}

func pc(n int) string { return fmt.Sprintf("PC%05d", n) }

// rotation is a run of the playbook over n machines, each with one key in the vault, that is still under way.
type rotation struct {
	*desk.Desk
	session *journal.Session
}

func rotate(t *testing.T, d *desk.Desk, n int) rotation {
	t.Helper()
	in := plan.Input{Options: plan.DefaultOptions(), Now: time.Now(), Operator: "ada", Mode: agent.Fix}
	in.Source.Playbook.Name = runs.RotatePlaybook
	var refs []bitlocker.KeyRef
	for i := range n {
		in.Entries = append(in.Entries, plan.Entry{Target: route.Target{ID: pc(i), Name: pc(i)}, Route: "winrm"})
		refs = append(refs, bitlocker.KeyRef{ID: keyID(i), Source: "ad:fleet.test", SourceKey: pc(i), Machine: bitlocker.Machine{Name: pc(i)}})
	}
	p, err := plan.New(in)
	if err != nil {
		t.Fatal(err)
	}
	vault, err := d.Vault(t.Context())
	if err == nil {
		err = vault.Add(t.Context(), refs...)
	}
	if err != nil {
		t.Fatal(err)
	}
	j, err := d.Journal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := j.Create(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return rotation{d, s}
}

// done ends machines: each has removed its protector.
func (r rotation) done(t *testing.T, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		said := fmt.Sprintf("new recovery password {%s}, removed {%s}", keyID(1000+i), keyID(i))
		result := agent.Result{Outcome: agent.Fixed, Steps: []agent.StepDone{{Action: "script", Note: said}}}
		if err := errors.Join(r.session.Lease(pc(i)), r.session.Begin(pc(i), 1), r.session.Finish(pc(i), journal.End{Outcome: journal.Fixed, Result: &result})); err != nil {
			t.Fatal(err)
		}
	}
}

// told is what vault and audit know of the run: marked keys, and the entries of each machine.
func (r rotation) told(t *testing.T) (marked int, entries map[string]int) {
	t.Helper()
	vault, err := r.Vault(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = vault.All(t.Context(), func(m bitlocker.Match) error {
		if !m.Rotated.IsZero() {
			marked++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	log, err := r.Audit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list, err := log.List(t.Context(), audit.Filter{Run: r.session.ID()})
	if err != nil {
		t.Fatal(err)
	}
	entries = map[string]int{}
	for _, e := range list {
		if e.Action != audit.Rotate || !strings.Contains(e.Detail, "replaced by") {
			t.Errorf("%+v", e)
		}
		entries[e.Machine]++
	}
	return marked, entries
}

func (r rotation) wants(t *testing.T, n int) {
	t.Helper()
	marked, entries := r.told(t)
	if marked != n || len(entries) != n {
		t.Errorf("%d keys are marked and %d machines in the audit, want %d", marked, len(entries), n)
	}
	for name, times := range entries {
		if times != 1 {
			t.Errorf("%s stands in the audit %d times", name, times)
		}
	}
}

// What machines said is told once, whenever and however often it is read, also while the run goes on.
func TestFoldReadsOn(t *testing.T) {
	r := rotate(t, sitDown(t, t.TempDir()), 1200) // three batches
	if err := Fold(t.Context(), r.Desk); err != nil {
		t.Fatal(err)
	}
	r.wants(t, 0)
	for _, step := range [][2]int{{0, 3}, {3, 3}, {3, 1200}} {
		r.done(t, step[0], step[1])
		for range 2 {
			if err := Fold(t.Context(), r.Desk); err != nil {
				t.Fatal(err)
			}
		}
		r.wants(t, step[1])
	}
	// Read up to its end: the events are not read again.
	vault, err := r.Vault(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	read, err := vault.Folded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	j, err := r.Journal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if rest, err := j.Events(t.Context(), r.session.ID(), read[r.session.ID()]); err != nil || len(rest) != 0 {
		t.Errorf("%d events are not read, %v", len(rest), err)
	}
}

// A process that was killed between the audit and the vault leaves entries that the next one recognises.
func TestFoldAfterAKillBetweenAuditAndVault(t *testing.T) {
	r := rotate(t, sitDown(t, t.TempDir()), 5)
	r.done(t, 0, 5)
	log, err := r.Audit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		e := audit.Entry{Action: audit.Rotate, Machine: pc(i), KeyID: string(keyID(i)), Run: r.session.ID(), Reason: "run " + r.session.ID(), Detail: "fixed: replaced by " + string(keyID(1000+i))}
		if _, err := log.AppendNew(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := Fold(t.Context(), r.Desk); err != nil {
		t.Fatal(err)
	}
	r.wants(t, 5)
}

// Versions before wrote the entries without the run; they are not written again, and the marks are set all the same.
func TestFoldKnowsEntriesOfBefore(t *testing.T) {
	r := rotate(t, sitDown(t, t.TempDir()), 2)
	r.done(t, 0, 2)
	log, err := r.Audit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if _, err := log.Append(t.Context(), audit.Entry{Action: audit.Rotate, Machine: pc(i), KeyID: string(keyID(i)), Reason: "run " + r.session.ID(), Detail: "fixed: replaced by " + string(keyID(1000+i))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := Fold(t.Context(), r.Desk); err != nil {
		t.Fatal(err)
	}
	if marked, entries := r.told(t); marked != 2 || len(entries) != 0 {
		t.Errorf("%d marked, new entries %v", marked, entries)
	}
}

// Several processes may read at once: nobody is told twice.
func TestFoldByMany(t *testing.T) {
	dir := t.TempDir()
	r := rotate(t, sitDown(t, dir), 40)
	r.done(t, 0, 40)
	var wg sync.WaitGroup
	for range 4 {
		d := sitDown(t, dir)
		wg.Go(func() {
			if err := Fold(context.WithoutCancel(t.Context()), d); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	r.wants(t, 40)
}

// A use case tells first: what a run did that was killed shows in the next search.
func TestFindTellsFirst(t *testing.T) {
	r := rotate(t, sitDown(t, t.TempDir()), 3)
	r.done(t, 0, 2)
	found, err := Find(t.Context(), r.Desk, Query{Text: pc(1)})
	if err != nil || len(found.Keys) != 1 || found.Keys[0].Rotated.IsZero() {
		t.Errorf("%+v, %v", found, err)
	}
	if found, err = Find(t.Context(), r.Desk, Query{Text: pc(2)}); err != nil || !found.Keys[0].Rotated.IsZero() {
		t.Errorf("%+v, %v", found, err)
	}
}

// A call without a reason has done nothing and says which question is to be asked.
func TestNoReasonNothingDone(t *testing.T) {
	r := rotate(t, sitDown(t, t.TempDir()), 1)
	var needed *question.NeededError
	if _, err := Reveal(t.Context(), r.Desk, Choice{ID: string(keyID(0))}, " ", desk.Access{}); !errors.As(err, &needed) || needed.Question.ID != "keys.reason" {
		t.Errorf("reveal: %v", err)
	}
	if _, err := Print(t.Context(), r.Desk, SheetRequest{IDs: []string{string(keyID(0))}}, "", desk.Access{}); !errors.As(err, &needed) {
		t.Errorf("print: %v", err)
	}
	if _, err := Sync(t.Context(), r.Desk, SyncRequest{Passwords: true}, "", desk.Access{}); !errors.As(err, &needed) {
		t.Errorf("sync: %v", err)
	}
	if err := (&Rotation{}).CarryOut(t.Context(), r.Desk, "", nil); !errors.As(err, &needed) {
		t.Errorf("rotate: %v", err)
	}
	log, err := r.Audit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if head, err := log.Head(t.Context()); err != nil || head.Seq != 0 {
		t.Errorf("the audit has %v, %v", head, err)
	}
}
