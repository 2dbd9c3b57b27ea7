// Command caseload makes the load of test/bench/cases.sh: runs over the machines of a state folder, with a route that answers at
// once, through the real engine and journal.
//
//	caseload -state DIR -runs 10   one run over all machines of its inventory, nine over a tenth each, in one incident
//	caseload -journal FILE -machines 10000 [-incident ID]   one run of so many machines, for its processor time
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"time"

	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/run"
)

func main() {
	if err := load(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "caseload:", err)
		os.Exit(1)
	}
}

func load(ctx context.Context) error {
	state := flag.String("state", "", "folder with an inventory")
	runs := flag.Int("runs", 10, "runs over it")
	file := flag.String("journal", "", "journal of one run of -machines")
	machines := flag.Int("machines", 10_000, "machines of that run")
	incident := flag.String("incident", "", "incident of that run")
	flag.Parse()
	if *file != "" {
		var entries []plan.Entry
		for i := range *machines {
			entries = append(entries, plan.Entry{Target: route.Target{ID: fmt.Sprintf("id%06d", i), Name: fmt.Sprintf("WS%06d", i)}, Route: "instant"})
		}
		return one(ctx, *file, entries, *incident, agent.Fix)
	}
	store, err := inventory.Open(ctx, filepath.Join(*state, "inventory.db"))
	if err != nil {
		return err
	}
	all, err := store.Select(ctx, inventory.Selector{})
	if err = errors.Join(err, store.Close()); err != nil {
		return err
	}
	var entries []plan.Entry
	for i := range all {
		entries = append(entries, plan.Entry{Target: route.Target{ID: all[i].ID, Name: all[i].Name, Site: all[i].Site}, Route: "instant"})
	}
	for n := range *runs {
		some, mode := entries, agent.Detect
		if n > 0 {
			some, mode = entries[n*len(entries)/(*runs):(n+1)*len(entries)/(*runs)], agent.Fix
		}
		if err := one(ctx, filepath.Join(*state, "journal.db"), some, "bench", mode); err != nil {
			return err
		}
	}
	return nil
}

func one(ctx context.Context, file string, entries []plan.Entry, incident string, mode agent.Mode) error {
	source, err := playbook.Find("crowdstrike-channel-file-291")
	if err != nil {
		return err
	}
	in := plan.Input{Entries: entries, Now: time.Now(), Options: plan.DefaultOptions(), Incident: incident, Mode: mode, Operator: "bench"}
	if in.Source.Playbook, err = source.Bind(nil); err != nil {
		return err
	}
	in.Source.Playbook.Reboot = playbook.RebootNever
	in.Options.Forks, in.Options.MaxFail = 1000, plan.Limit{}
	p, err := plan.New(in)
	if err != nil {
		return err
	}
	j, err := journal.Open(ctx, file)
	if err != nil {
		return err
	}
	e, err := run.New(run.Options{Journal: j, Routes: map[string]route.Route{"instant": instant{}}})
	if err == nil {
		_, err = e.Start(ctx, p)
	}
	return errors.Join(err, j.Close())
}

// instant answers at once, by the name of the machine.
type instant struct{}

func (instant) Name() string { return "instant" }

func (instant) Alive(context.Context, route.Target) error { return nil }

func (instant) Do(_ context.Context, t route.Target, r agent.Request) (agent.Result, error) {
	h := fnv.New32()
	_, _ = h.Write([]byte(t.Name))
	result := agent.Result{Run: r.Run, Outcome: agent.Clean}
	switch n := h.Sum32() % 10; {
	case r.Mode == agent.Detect && n < 4:
		result.Outcome = agent.Affected
	case n < 3:
		result.Outcome, result.Changed = agent.Fixed, 1
	case n < 4:
		result.Outcome, result.Message = agent.Failed, "a file is in use"
	}
	return result, nil
}
