package keys

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/bitlocker/entra"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

// CarryOut carries the rotation out: the plans one after the other by run, which shows them its own way and says whether to
// go on after it, and then asks Intune. The rows say what became of each machine. Without a reason (but for a dry run) it
// returns a question.NeededError and has done nothing. What stops one part stops what comes after it.
func (r *Rotation) CarryOut(ctx context.Context, d *desk.Desk, reason string, run func(context.Context, *plan.Plan) (done *journal.Run, goOn bool, err error)) error {
	if !r.DryRun {
		if err := needReason(reason, "Why are they rotated", "a reason is needed, and nothing was done"); err != nil {
			return err
		}
		for _, row := range r.Rows {
			if row.Way != "" {
				row.Outcome = string(journal.Held)
			}
		}
	}
	for _, p := range r.Plans {
		if !r.DryRun {
			if err := r.planned(ctx, d, p, reason); err != nil {
				return err
			}
		}
		done, goOn, err := run(ctx, p)
		if done != nil {
			if failed := r.take(context.WithoutCancel(ctx), d, done.ID); err == nil {
				err = failed
			}
		}
		if err != nil || !goOn {
			return err
		}
	}
	return r.byIntune(ctx, d, reason)
}

// planned writes into the audit what a run is about to do. What came of it follows when the run is folded.
func (r *Rotation) planned(ctx context.Context, d *desk.Desk, p *plan.Plan, reason string) error {
	var entries []audit.Entry
	for _, wave := range p.Waves {
		for _, e := range wave.Entries {
			entries = append(entries, audit.Entry{Action: audit.Rotate, Machine: e.Name, KeyID: string(r.OnlyKey()), Reason: reason,
				Detail: "planned over WinRM: " + p.Parameters["protector"] + " of " + p.Parameters["volume"] + ", escrowed to " + p.Parameters["escrow"] + " first"})
		}
	}
	log, err := d.Audit(ctx)
	if err == nil {
		_, err = log.Append(ctx, entries...)
	}
	return err
}

// take takes over what became of the machines of a run.
func (r *Rotation) take(ctx context.Context, d *desk.Desk, id string) error {
	j, err := d.Journal(ctx)
	if err != nil {
		return err
	}
	ended, err := j.Machines(ctx, id)
	if err != nil {
		return err
	}
	byID := map[string]*Row{}
	for _, row := range r.Rows {
		byID[row.machine.ID] = row
	}
	for _, m := range ended {
		row := byID[m.Target.ID]
		row.Run, row.Outcome, row.Reason = id, string(m.Outcome), m.Reason
		row.New, row.Removed = rotatedKeys(m)
		if m.Outcome == journal.Clean {
			row.Reason = "it has no such recovery password on " + r.Volume
		}
	}
	return nil
}

// rotator asks somebody to rotate the keys of a device.
type rotator interface {
	Rotate(ctx context.Context, deviceID string) error
}

// byIntune asks Intune for each device in turn. A refusal that would meet every device ends it.
func (r *Rotation) byIntune(ctx context.Context, d *desk.Desk, reason string) error {
	for _, row := range r.Rows {
		if row.Way != WayIntune {
			continue
		}
		if r.DryRun {
			row.Outcome, row.Reason = string(journal.Affected), "Intune would be asked"
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		err := askIntune(ctx, d, row, reason)
		switch {
		case err == nil:
			row.Outcome, row.Reason = Asked, "Intune passes it on when the device next reports"
			continue
		case errors.Is(err, entra.ErrNotManaged):
			row.Reason = "Intune does not manage it: give --via winrm --escrow entra, where WinRM reaches it"
		case errors.Is(err, entra.ErrSignIn), errors.Is(err, entra.ErrRotateDenied), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, errNotRecorded):
			row.Reason = err.Error()
			return err
		default:
			row.Reason = err.Error()
		}
		row.Outcome = string(journal.Failed)
	}
	return nil
}

// Asked is the outcome of a machine that Intune was asked about.
const Asked = "asked"

var errNotRecorded = errors.New("nobody was asked")

func askIntune(ctx context.Context, d *desk.Desk, row *Row, reason string) error {
	var refs []bitlocker.KeyRef
	for _, ref := range row.refs {
		if strings.HasPrefix(ref.Source, "entra:") {
			refs = append(refs, ref)
		}
	}
	source, err := d.Connect.KeySource(ctx, refs[0].Source)
	if err != nil {
		return err
	}
	asked, ok := source.(rotator)
	if !ok {
		return fmt.Errorf("%s cannot be asked to rotate", source.Name())
	}
	log, err := d.Audit(ctx)
	if err != nil {
		return err
	}
	entry := audit.Entry{Action: audit.Rotate, Machine: row.Name, KeyID: string(row.KeyID), Source: source.Name(), Reason: reason, Detail: "asked of Intune, for device " + refs[0].Machine.DeviceID}
	if _, err := log.Append(ctx, entry); err != nil {
		return fmt.Errorf("%w: %w", errNotRecorded, err)
	}
	if err := asked.Rotate(ctx, refs[0].Machine.DeviceID); err != nil {
		entry.Detail = "refused: " + err.Error()
		_, failed := log.Append(context.WithoutCancel(ctx), entry)
		return errors.Join(err, failed)
	}
	vault, err := d.Vault(ctx)
	if err != nil {
		return err
	}
	return vault.MarkRotationAsked(ctx, d.Now(), refs...)
}
