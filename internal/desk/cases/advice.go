package cases

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/casefile"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// cure are the words of a command that say what cures an incident: as the newest run that asked its question was told, with the
// file and the parameters of the playbook. Where nobody has asked yet it is what the incident was opened with, if that still asks the
// same, or none.
func cure(ctx context.Context, d *desk.Desk, i *journal.Incident) ([]string, error) {
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	asked, err := j.Asked(ctx, i)
	if err != nil {
		return nil, err
	}
	if asked != nil {
		said := SaidOf(asked)
		return append(asking(said.Playbook, asked.Parameters), said.words()...), nil
	}
	name := cmp.Or(i.File, i.Playbook)
	source, err := playbook.Find(name)
	if err != nil {
		return nil, nil //nolint:nilerr // the file is gone, or it was opened without saying which it is
	}
	bound, err := source.Bind(i.Parameters)
	if err != nil || bound.DetectDigest() != i.Digest {
		return nil, nil //nolint:nilerr // it was edited since, or wants other parameters
	}
	return append(asking(name, i.Parameters), Said{AcceptPermanent: len(bound.Permanent()) > 0}.words()...), nil
}

func asking(name string, parameters map[string]string) []string {
	words := []string{name}
	for _, key := range slices.Sorted(maps.Keys(parameters)) {
		words = append(words, "--set", commandline.Pair(key, parameters[key]))
	}
	return words
}

// commands are what does the next step for a group, on the machines that were shown and no others; cure is what cures them.
func commands(d *desk.Desk, i journal.Incident, scope inventory.Selector, verb casefile.Verb, stopped map[string]bool, cure []string) []string {
	on := fmt.Sprintf("case.next == %q", verb)
	if expression, ok := scope.Expression(); ok {
		on = "(" + expression + ") && " + on
	} else if scope.String() != "all" {
		return nil // names and an expression do not go together: the group cannot be said in one selector
	}
	line := func(args ...string) string { return d.Program().In(commandline.Line(args...)) }
	switch verb {
	case casefile.Fix, casefile.Retry:
		if cure != nil {
			return []string{line(slices.Concat([]string{"run"}, cure, []string{"--incident", i.ID, "--on", on})...)}
		}
	case casefile.Resume:
		var lines []string
		for _, run := range slices.Sorted(maps.Keys(stopped)) {
			lines = append(lines, line("runs", "resume", run))
		}
		return lines
	case casefile.Probe:
		return []string{line("inventory", "probe", on, "--incident", i.ID)}
	case casefile.GetKey:
		return []string{line("keys", "coverage", on, "--incident", i.ID), line("keys", "sync")}
	case casefile.Start:
		if scope.String() == "all" {
			return []string{line("media", "build", "WINRE.WIM", "--next", "medium", "--keys", "vault", "--incident", i.ID),
				line("keys", "sheet", "--next", "medium", "--out", "keys.pdf", "--incident", i.ID)}
		}
	case casefile.Rotate:
		return []string{line("keys", "rotate", "--on", on, "--incident", i.ID)}
	case casefile.ByHand, casefile.Wait, casefile.Done:
	}
	return []string{line("incident", "machines", on, "--incident", i.ID)}
}

// ages says how old the data are, by source.
func ages(ctx context.Context, d *desk.Desk, t *tally) ([]Age, error) {
	store, err := d.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	sources, err := store.SourceAges(ctx)
	if err != nil {
		return nil, err
	}
	var out []Age
	for _, s := range sources {
		out = append(out, Age{"machines of " + s.Source, s.ReadAt})
	}
	out = append(out, Age{"newest probe", t.probed}, Age{"newest answer", t.answered})
	if !d.HasVault() {
		return out, nil
	}
	vault, err := d.Vault(ctx)
	if err != nil {
		return nil, err
	}
	synced, err := vault.Synced(ctx)
	if err != nil {
		return nil, err
	}
	for _, source := range slices.Sorted(maps.Keys(synced)) {
		if at := synced[source]; !at.IsZero() {
			out = append(out, Age{"keys of " + source, at})
		}
	}
	return out, nil
}

// stale is how old a probe may be before it is said to say little.
const stale = 24 * time.Hour

// missing says in sentences what the machines that are left lack.
func (t *tally) missing(d *desk.Desk) []string {
	if t.s.Left+t.s.Verdicts[casefile.Unknown] == 0 {
		return nil
	}
	var out []string
	say := func(n int, one, many string) {
		switch {
		case n == 1:
			out = append(out, "1 machine "+one)
		case n > 1:
			out = append(out, fmt.Sprintf("%d machines %s", n, many))
		}
	}
	say(t.unprobed, "was neither asked nor probed", "were neither asked nor probed")
	if !t.probed.IsZero() && t.now.Sub(t.probed) > stale {
		out = append(out, "the newest probe is older than a day")
	}
	if !d.HasVault() || t.s.Machines > 0 && t.s.Keys[casefile.NoKey] == t.s.Machines {
		out = append(out, "no recovery key was read so far ("+d.Program().In("`fleetmend keys sync`")+")")
		return append(out, t.start(d)...)
	}
	say(t.s.Keys[casefile.NoKey], "has no recovery key that is known", "have no recovery key that is known")
	say(t.s.Keys[casefile.DeniedKey], "has a recovery key that may not be read", "have a recovery key that may not be read")
	say(t.s.Keys[casefile.WrongKey], "has a recovery key that cannot be right", "have a recovery key that cannot be right")
	return append(out, t.start(d)...)
}

// start says that the beginning of the harm is not known.
func (t *tally) start(d *desk.Desk) []string {
	if !t.s.Incident.Start.IsZero() {
		return nil
	}
	how := d.Program().In("`fleetmend incident open " + t.s.Incident.ID + " --start TIME`")
	return []string{"when the harm began is not known, so that machines are suspect by their silence alone (" + how + ")"}
}
