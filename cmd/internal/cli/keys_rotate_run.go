package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/bitlocker/entra"
	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

func (a *app) rotateKeys(cmd *cobra.Command, f *rotateFlags, args []string) error {
	if err := f.check(cmd, args); err != nil {
		return err
	}
	front, err := a.Desk()
	if err != nil {
		return err
	}
	d, err := a.openDesk(cmd.Context())
	if err != nil {
		return err
	}
	rows, err := a.rotationTargets(cmd, d, f, args)
	if err != nil {
		return err
	}
	plans, err := f.rotationPlans(front, f.Rules(cmd), rows, strings.Join(append(slices.Clone(args), f.on), " "))
	if err != nil {
		return err
	}
	a.showRotation(rows, plans, f)
	total := 0
	for _, r := range rows {
		if r.Way != "" {
			total++
		}
	}
	if total == 0 {
		return errNothingToRotate(rows)
	}
	if !f.DryRun {
		if f.reason, err = a.reasonWhy(cmd.Context(), f.reason, "Why are they rotated", "a reason is needed, and nothing was done"); err != nil {
			return err
		}
		if err := a.confirm(cmd.Context(), f.Yes, fmt.Sprintf("%s will get new recovery passwords, and the old ones will open nothing any more.", machinesText(total)), itoa(total)); err != nil {
			return err
		}
	}
	code, err := a.rotate(cmd.Context(), d, f, rows, plans)
	if printed := a.printRotation(rows); err == nil {
		err = printed
	}
	if err != nil {
		return err
	}
	a.afterRotation(rows, f)
	return silently(code)
}

// showRotation says which way each machine goes and why.
func (a *app) showRotation(rows []*rotation, plans []*plan.Plan, f *rotateFlags) {
	if a.jsonLines || a.quiet && f.Yes {
		return
	}
	type way struct{ way, escrow, why string }
	var order []way
	groups := map[way][]string{}
	for _, r := range rows {
		w := way{r.Way, r.Escrow, r.Why}
		if groups[w] == nil {
			order = append(order, w)
		}
		groups[w] = append(groups[w], r.Name)
	}
	for _, w := range order {
		title := map[string]string{wayWinRM: "over WinRM, escrowed to " + escrowPlaces[w.escrow] + " first",
			wayIntune: "by Intune, when the device next reports", "": "left out"}[w.way]
		names := groups[w]
		more := ""
		if len(names) > 6 {
			names, more = names[:6], ", ..."
		}
		a.say("%s", wrapped(oneLine(fmt.Sprintf("%s: %s: %s%s (%s)", title, machinesText(len(groups[w])), strings.Join(names, ", "), more, w.why)), a.streams.Width))
	}
	for n, p := range plans {
		which := "every recovery password of " + f.volume + " is replaced by one new"
		if key := onlyKey(rows); key != "" {
			which = "only " + string(key) + " on " + f.volume + " is replaced"
		}
		a.say("%s", wrapped(fmt.Sprintf("run %d of %d, escrowed to %s: %s; gate: %s; %d at once", n+1, len(plans), escrowPlaces[p.Parameters["escrow"]],
			which, gateText(p.Options), p.Options.Forks), a.streams.Width))
		for i, wave := range p.Waves {
			a.say("%s", wrapped(fmt.Sprintf("  wave %d (%s): %s: %s", i+1, wave.Name, machinesText(len(wave.Entries)), oneLine(names(wave.Entries))), a.streams.Width))
		}
	}
}

var escrowPlaces = map[string]string{"ad": "AD", "entra": "Entra ID", "both": "AD and Entra ID"}

// rotate carries the plans out, one after the other, and then asks Intune. What stops one part stops what comes after it.
func (a *app) rotate(ctx context.Context, d *desk, f *rotateFlags, rows []*rotation, plans []*plan.Plan) (code int, err error) {
	for _, r := range rows {
		if r.Way != "" && !f.DryRun {
			r.Outcome = string(journal.Held)
		}
	}
	for _, p := range plans {
		if !f.DryRun {
			if err := d.planRotation(ctx, p, rows, f.reason); err != nil {
				return 0, err
			}
		}
		ended, err := a.rotateOverWinRM(ctx, p, f, rows)
		if err != nil {
			return 0, err
		}
		if code = max(code, ended); ended != exitOK && ended != exitSomeFailed && ended != exitChanges {
			return ended, nil
		}
	}
	ended, err := a.rotateByIntune(ctx, d, f, rows)
	if ended == exitSomeFailed || code == exitOK {
		code = ended
	}
	return code, err
}

// planRotation writes into the audit what a run is about to do. What came of it follows when the run ends.
func (d *desk) planRotation(ctx context.Context, p *plan.Plan, rows []*rotation, reason string) error {
	var entries []audit.Entry
	for _, wave := range p.Waves {
		for _, e := range wave.Entries {
			entries = append(entries, audit.Entry{Action: audit.Rotate, Machine: e.Name, KeyID: string(onlyKey(rows)), Reason: reason,
				Detail: "planned over WinRM: " + p.Parameters["protector"] + " of " + p.Parameters["volume"] + ", escrowed to " + p.Parameters["escrow"] + " first"})
		}
	}
	_, err := d.audit.Append(ctx, entries...)
	return err
}

// rotateOverWinRM carries one plan out and takes over what became of its machines.
func (a *app) rotateOverWinRM(ctx context.Context, p *plan.Plan, f *rotateFlags, rows []*rotation) (code int, err error) {
	d, err := a.Desk()
	if err != nil {
		return 0, err
	}
	j, err := d.Journal(ctx)
	if err != nil {
		return 0, err
	}
	r, err := a.runs().Drive(ctx, d, p, f.CarryFlags, func(ctx context.Context, o runs.Options) (*journal.Run, error) { return runs.Start(ctx, d, p, o) })
	if r == nil {
		return 0, err
	}
	ctx = context.WithoutCancel(ctx)
	machines, failed := j.Machines(ctx, r.ID)
	if err = errors.Join(err, failed); err != nil && !errors.Is(err, context.Canceled) {
		return 0, err
	}
	byID := map[string]*rotation{}
	for _, row := range rows {
		byID[row.machine.ID] = row
	}
	for _, m := range machines {
		row := byID[m.Target.ID]
		row.Run, row.Outcome, row.Reason = r.ID, string(m.Outcome), m.Reason
		row.New, row.Removed = rotatedKeys(m)
		if m.Outcome == journal.Clean {
			row.Reason = "it has no such recovery password on " + f.volume
		}
	}
	if a.out.Format == "table" || a.out.Format == "wide" || a.jsonLines {
		err := a.runs().Conclude(ctx, d, r.ID, f.CarryFlags)
		if command.Silent(err) {
			return exitCode(err), nil
		}
		return exitOK, err
	}
	if r, err = j.Run(ctx, r.ID); err != nil {
		return 0, err
	}
	return runCode(r, f.Detailed), nil
}

// rotator asks somebody to rotate the keys of a device.
type rotator interface {
	Rotate(ctx context.Context, deviceID string) error
}

// rotateByIntune asks Intune for each device in turn. A refusal that would meet every device ends it.
func (a *app) rotateByIntune(ctx context.Context, d *desk, f *rotateFlags, rows []*rotation) (code int, err error) {
	for _, r := range rows {
		if r.Way != wayIntune {
			continue
		}
		if f.DryRun {
			r.Outcome, r.Reason = string(journal.Affected), "Intune would be asked"
			continue
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		err := a.askIntune(ctx, d, r, f.reason)
		switch {
		case err == nil:
			r.Outcome, r.Reason = "asked", "Intune passes it on when the device next reports"
			continue
		case errors.Is(err, entra.ErrNotManaged):
			r.Reason = "Intune does not manage it: give --via winrm --escrow entra, where WinRM reaches it"
		case errors.Is(err, entra.ErrSignIn), errors.Is(err, entra.ErrRotateDenied), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, errNotRecorded):
			r.Reason = err.Error()
			return 0, keyAuth(err)
		default:
			r.Reason = err.Error()
		}
		r.Outcome, code = string(journal.Failed), exitSomeFailed
	}
	return code, nil
}

var errNotRecorded = errors.New("nobody was asked")

func (a *app) askIntune(ctx context.Context, d *desk, r *rotation, reason string) error {
	var refs []bitlocker.KeyRef
	for _, ref := range r.refs {
		if strings.HasPrefix(ref.Source, "entra:") {
			refs = append(refs, ref)
		}
	}
	source, err := a.keySource(ctx, refs[0].Source)
	if err != nil {
		return err
	}
	entry := audit.Entry{Action: audit.Rotate, Machine: r.Name, KeyID: string(r.KeyID), Source: source.Name(), Reason: reason, Detail: "asked of Intune, for device " + refs[0].Machine.DeviceID}
	if _, err := d.audit.Append(ctx, entry); err != nil {
		return fmt.Errorf("%w: %w", errNotRecorded, err)
	}
	if err := source.(rotator).Rotate(ctx, refs[0].Machine.DeviceID); err != nil { //nolint:errcheck // every source of that name can
		entry.Detail = "refused: " + err.Error()
		_, failed := d.audit.Append(context.WithoutCancel(ctx), entry)
		return errors.Join(err, failed)
	}
	return d.MarkRotationAsked(ctx, time.Now(), refs...)
}

// printRotation prints the machines for programs; for people the runs were printed already.
func (a *app) printRotation(rows []*rotation) error {
	switch {
	case a.jsonLines:
		for _, r := range rows {
			if err := writeJSONLine(a.streams.Out, map[string]any{"v": 1, "type": "rotation", "rotation": r}); err != nil {
				return err
			}
		}
		return nil
	case a.out.Format == "table":
		rows = slices.DeleteFunc(slices.Clone(rows), func(r *rotation) bool { return r.Way != wayIntune || r.Outcome == "" })
		if len(rows) == 0 {
			return nil
		}
	}
	return list(a.out, a.streams.Out, rows, rotationColumns)
}

// afterRotation says what is to be done next.
func (a *app) afterRotation(rows []*rotation, f *rotateFlags) {
	has := func(outcome, way string) bool {
		return slices.ContainsFunc(rows, func(r *rotation) bool { return r.Outcome == outcome && r.Way == way })
	}
	switch {
	case f.DryRun:
		a.say("nothing was changed and Intune was not asked; without --dry-run the machines that are affected get new passwords")
		return
	case has(string(journal.Fixed), wayWinRM) && a.out.Format != "table": // there the report says it
		a.say("next: fleetmend keys sync reads the new keys in; until then fleetmend keys find knows the old ones only, and marks them")
	}
	if has("asked", wayIntune) {
		a.say("Intune was asked. When the devices have reported, fleetmend keys sync --from entra shows their new keys; the old ones count until then.")
	}
	if key := onlyKey(rows); key != "" && has(string(journal.Clean), wayWinRM) {
		a.say("key %s does not open %s of %s: it was replaced before, or it belongs to another volume (--volume D:)", key, f.volume, rows[0].Name)
	}
}

// newAndRemoved is what the playbook says; see remediate/playbook/builtin/rotate-recovery-password.yaml.
var newAndRemoved = regexp.MustCompile(`new recovery password \{([0-9A-Fa-f-]{36})\}(?: is escrowed)?, removed((?: \{[0-9A-Fa-f-]{36}\})*)`)

// rotatedKeys is what a machine says of its protectors.
func rotatedKeys(m journal.Machine) (fresh bitlocker.KeyID, removed []bitlocker.KeyID) {
	if m.Result == nil {
		return "", nil
	}
	said := []string{m.Result.Message}
	for _, s := range m.Result.Steps {
		said = append(said, s.Note)
	}
	for _, text := range said {
		found := newAndRemoved.FindStringSubmatch(text)
		if found == nil {
			continue
		}
		fresh, err := bitlocker.ParseKeyID(found[1])
		if err != nil {
			continue
		}
		for _, word := range strings.Fields(found[2]) {
			if id, err := bitlocker.ParseKeyID(word); err == nil {
				removed = append(removed, id)
			}
		}
		return fresh, removed
	}
	return "", nil
}

// noteRotations marks in the vault what the machines of a run have removed, and writes what became of each into the audit.
// It is part of every run of the playbook, also of one that is resumed.
func (a *app) noteRotations(ctx context.Context, id string) error {
	j, err := a.openJournal(ctx)
	if err != nil {
		return err
	}
	r, err := j.Run(ctx, id)
	if err != nil || r.Playbook != rotatePlaybook || r.Mode != agent.Fix {
		return err
	}
	machines, err := j.Machines(ctx, id)
	if err != nil {
		return err
	}
	d, err := a.openDesk(ctx)
	if err != nil {
		return err
	}
	var entries []audit.Entry
	for _, m := range machines {
		if m.Outcome == journal.Skipped || m.Outcome == journal.Held {
			continue
		}
		fresh, removed := rotatedKeys(m)
		entry := audit.Entry{Action: audit.Rotate, Machine: m.Target.Name, Reason: "run " + id, Detail: strings.TrimSuffix(string(m.Outcome)+": "+m.Reason, ": ")}
		if len(removed) == 0 {
			entries = append(entries, entry)
			continue
		}
		if _, err := d.MarkRotated(ctx, m.Target.Name, m.Ended, removed...); err != nil {
			return err
		}
		for _, old := range removed {
			entry.KeyID, entry.Detail = string(old), string(m.Outcome)+": replaced by "+string(fresh)
			entries = append(entries, entry)
		}
	}
	_, err = d.audit.Append(ctx, entries...)
	return err
}
