package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// incidentSource is the source under which the opinion on each machine is kept, so that provenance shows it.
const incidentSource = "incident"

// assess forms an opinion on every machine from what the inventory knows and how the runs since the incident ended, keeps
// it with its reason, and counts the opinions. What an administrator has set by hand goes before it.
func (a *app) assess(ctx context.Context, incident inventory.Incident) (map[string]int, error) {
	all, err := inventory.ParseSelector("all", nil)
	if err != nil {
		return nil, err
	}
	machines, err := a.store.Select(ctx, all)
	if err != nil {
		return nil, err
	}
	runs, err := a.lastRuns(ctx, incident)
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	var records []inventory.Record
	for i := range machines {
		m := &machines[i]
		if !slices.ContainsFunc(m.Sources, func(s string) bool { return s != incidentSource }) {
			continue // only the former opinion knows it; a source that lists it does no more
		}
		health, reason := inventory.AssessHealth(m, incident, runs[m.ID])
		counts[string(health)]++
		records = append(records, opinion(m, health, reason))
	}
	if len(records) == 0 {
		return counts, nil
	}
	if _, err := a.store.Sync(ctx, incidentSource, records); err != nil {
		return nil, err
	}
	return counts, a.store.SetCursor(ctx, incidentSource, formatIncident(incident))
}

// noCure are playbooks that end well without curing anything: tools, and commands and scripts of one's own.
var noCure = []string{"safeboot-on", "safeboot-off", "rotate-recovery-password", "command", "script"}

// lastRuns tells, by machine, how the newest run of a cure since the incident ended that it answered.
func (a *app) lastRuns(ctx context.Context, incident inventory.Incident) (map[string]*inventory.LastRun, error) {
	j, err := a.openJournal(ctx)
	if err != nil {
		return nil, err
	}
	runs, err := j.Runs(ctx) // newest first
	if err != nil {
		return nil, err
	}
	last := map[string]*inventory.LastRun{}
	for i := range runs {
		r := &runs[i]
		if r.Started.Before(incident.Start) || slices.Contains(noCure, r.Playbook) {
			continue
		}
		answers, err := j.Answers(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		for id, ended := range answers {
			if last[id] == nil && (ended.Outcome != journal.Failed || r.Undoes == "") { // an undo that failed leaves it as it was
				last[id] = &inventory.LastRun{Outcome: string(ended.Outcome), At: ended.At}
			}
		}
	}
	return last, nil
}

// opinion is a record that finds its machine again by what identifies it.
func opinion(m *inventory.Machine, health inventory.Health, reason string) inventory.Record {
	fields := map[string]string{"name": m.Name, "health": string(health), "health_reason": reason}
	for name, value := range map[string]string{"fqdn": m.FQDN, "claims.sid": m.Claims.SID, "claims.object_guid": m.Claims.ObjectGUID} {
		if value != "" {
			fields[name] = value
		}
	}
	return inventory.Record{Source: incidentSource, SourceKey: m.ID, Fields: fields}
}

func formatIncident(i inventory.Incident) string {
	end := ""
	if !i.End.IsZero() {
		end = i.End.Format(time.RFC3339)
	}
	return i.Start.Format(time.RFC3339) + "/" + end
}

// lastIncident returns the window that was given last, so that later readings go on with it; false where there was none.
func (a *app) lastIncident(ctx context.Context) (inventory.Incident, bool, error) {
	sources, err := a.store.Sources(ctx)
	if err != nil {
		return inventory.Incident{}, false, err
	}
	for _, s := range sources {
		if s.Source != incidentSource {
			continue
		}
		from, to, _ := strings.Cut(s.Cursor, "/")
		start, err := time.Parse(time.RFC3339, from)
		if err != nil {
			return inventory.Incident{}, false, nil
		}
		end, _ := time.Parse(time.RFC3339, to) // none: it goes on
		return inventory.Incident{Start: start, End: end}, true, nil
	}
	return inventory.Incident{}, false, nil
}
