package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/cmd/internal/runscmd"
	"github.com/fleetmend/fleetmend/cmd/internal/terminal"
	coredesk "github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// rotatePlaybook is the built-in playbook that rotates on the machine itself.
const rotatePlaybook = "rotate-recovery-password"

// rotateFlags are the flags of keys rotate.
type rotateFlags struct {
	runscmd.RuleFlags
	runscmd.CarryFlags
	on, exclude                 string
	reason, via, escrow, volume string
}

func newKeysRotate(a *app) *cobra.Command {
	var f rotateFlags
	cmd := &cobra.Command{
		Use:   "rotate [KEY-ID|HOST]...",
		Short: "Replace recovery passwords that were read aloud, printed or used",
		Long: `Give machines new recovery passwords: by the ID of a key that was used, by host name, or with --on for a selector. For one
key ID that password alone is replaced; else every recovery password of the volume is, by one new.

Each machine goes one of two ways, and the overview says which and why, before anything is done:
  winrm    machines whose keys are in Active Directory. The playbook rotate-recovery-password runs on them, in waves and behind
           gates as with fleetmend run. The new password is added and escrowed first, to every directory that keeps keys of
           the machine, and the old one goes last: an error in between leaves the old one valid.
  intune   machines whose keys are in Entra ID alone. Intune is asked, and passes it on when the device next reports.

Every machine is in the audit, with the reason. Keys whose protector a machine has removed are marked in the vault, and
stay there; fleetmend keys sync reads the new ones in afterwards. With --dry-run nothing is changed and nobody is asked.`,
		Example: `fleetmend keys rotate 4C4B6D8A --reason "INC-1234, read to the user by phone"
fleetmend keys rotate LON-WS-00042 LON-WS-00043 --reason "INC-1234" --dry-run
fleetmend keys rotate --on 'site == "LON"' --waves 1,10,100% --max-fail 5% --reason "sheets of the incident"
fleetmend keys rotate PF3ABCDE --via winrm --escrow entra --reason "not managed by Intune"`,
		ValidArgsFunction: completing(a.rotateWords),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.rotateKeys(cmd, &f, args)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.on, "on", "", "selector of the machines, instead of names (see fleetmend inventory --help)")
	fs.StringVar(&f.exclude, "exclude", "", "selector of machines to leave out")
	fs.StringVar(&f.reason, "reason", "", "why, for the audit")
	fs.StringVar(&f.via, "via", "auto", "winrm or intune, instead of what the keys' places say")
	fs.StringVar(&f.escrow, "escrow", "auto", "ad, entra or both: where the machines escrow, instead of where their keys are now")
	fs.StringVar(&f.volume, "volume", "C:", "the volume, over WinRM")
	f.RuleFlags.Add(cmd)
	f.CarryFlags.Add(cmd)
	command.Formats(cmd, terminal.ListFormats...)
	complete(cmd, "via", "auto", "winrm", "intune")
	complete(cmd, "escrow", "auto", "ad", "entra", "both")
	for _, name := range []string{"on", "exclude"} {
		_ = cmd.RegisterFlagCompletionFunc(name, completing(a.selectorWords))
	}
	return cmd
}

func (a *app) rotateWords(ctx context.Context, prefix string) ([]string, error) {
	names, err := a.machineNames(ctx, prefix)
	if err != nil {
		return nil, err
	}
	ids, err := a.keyIDs(ctx, prefix)
	return append(names, ids...), err
}

// rotation is one machine with the way it goes and what became of it.
type rotation struct {
	Name    string            `json:"machine"`
	Way     string            `json:"way,omitempty"`    // winrm or intune; empty for one that is left out
	Escrow  string            `json:"escrow,omitempty"` // with winrm: ad, entra or both
	Why     string            `json:"why"`
	KeyID   bitlocker.KeyID   `json:"key_id,omitempty"`  // the only one to be replaced
	Outcome string            `json:"outcome,omitempty"` // of a run; with intune: asked, failed or held
	Reason  string            `json:"reason,omitempty"`
	Run     string            `json:"run,omitempty"`
	New     bitlocker.KeyID   `json:"new_key_id,omitempty"`
	Removed []bitlocker.KeyID `json:"removed,omitempty"`

	machine inventory.Machine  // without an ID where the inventory does not know it
	refs    []bitlocker.KeyRef // where keys of it are or were, those that were rotated too
}

var rotationColumns = []column[*rotation]{
	{"machine", false, func(r *rotation) string { return r.Name }},
	{"way", false, func(r *rotation) string { return r.Way }},
	{"escrow", false, func(r *rotation) string { return r.Escrow }},
	{"outcome", false, func(r *rotation) string { return r.Outcome }},
	{"new key id", false, func(r *rotation) string { return string(r.New) }},
	{"reason", false, func(r *rotation) string { return r.Reason }},
	{"why", true, func(r *rotation) string { return r.Why }},
	{"run", true, func(r *rotation) string { return r.Run }},
}

const (
	wayWinRM  = "winrm"
	wayIntune = "intune"
)

func (f *rotateFlags) check(cmd *cobra.Command, args []string) error {
	switch {
	case (len(args) == 0) == (f.on == ""):
		return usage(errors.New("say which machines: key IDs or host names, or --on with a selector"), "fleetmend keys rotate 4C4B6D8A, or --on all for every machine of the inventory")
	case !slices.Contains([]string{"auto", wayWinRM, wayIntune}, f.via):
		return usage(fmt.Errorf("--via %q is none of auto, winrm, intune", f.via), "take one of them")
	case !slices.Contains([]string{"auto", "ad", "entra", "both"}, f.escrow):
		return usage(fmt.Errorf("--escrow %q is none of auto, ad, entra, both", f.escrow), "take one of them")
	case f.via == wayIntune && (cmd.Flags().Changed("escrow") || cmd.Flags().Changed("volume")):
		return usage(errors.New("which volumes are rotated, and where they escrow, is for Intune to decide"), "leave out --escrow and --volume")
	}
	return nil
}

// rotationTargets finds the machines that are named, each once.
func (a *app) rotationTargets(cmd *cobra.Command, d *desk, f *rotateFlags, args []string) ([]*rotation, error) {
	ctx := cmd.Context()
	t := &rotationSet{byID: map[string]*rotation{}}
	if f.on != "" {
		machines, err := a.selectMachines(cmd, f.on)
		if err != nil {
			return nil, err
		}
		for _, m := range machines {
			t.add(m, "")
		}
	}
	all, err := a.selectMachines(cmd, "all")
	if err != nil && exitCode(err) != exitNothing {
		return nil, err
	}
	t.index = indexMachines(all)
	for _, text := range args {
		if err := a.rotationTarget(ctx, d, t, text); err != nil {
			return nil, err
		}
	}
	err = d.All(ctx, func(m bitlocker.Match) error {
		if known, ok := t.index.find(m.Machine); ok && !m.Deleted {
			if r := t.byID[known.ID]; r != nil {
				r.refs = append(r.refs, m.KeyRef)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	excluded, err := a.excluded(cmd, f.exclude)
	if err != nil {
		return nil, err
	}
	for _, r := range t.list {
		r.choose(f, excluded[r.machine.ID])
	}
	slices.SortStableFunc(t.list, func(a, b *rotation) int { // in the order they are done, those left out last
		return cmp.Or(-cmp.Compare(a.Way, b.Way), cmp.Compare(a.Escrow, b.Escrow))
	})
	return t.list, nil
}

type rotationSet struct {
	index machineIndex
	list  []*rotation
	byID  map[string]*rotation
}

// add takes a machine in. Two keys of one machine mean all of its keys.
func (t *rotationSet) add(m inventory.Machine, key bitlocker.KeyID) {
	if r := t.byID[m.ID]; r != nil {
		if r.KeyID != key {
			r.KeyID = ""
		}
		return
	}
	r := &rotation{Name: m.Name, KeyID: key, machine: m}
	t.byID[m.ID], t.list = r, append(t.list, r)
}

// rotationTarget takes in the machine of a key, or of a host name, serial number or user.
func (a *app) rotationTarget(ctx context.Context, d *desk, t *rotationSet, text string) error {
	var found bitlocker.Found
	var err error
	var key bitlocker.KeyID
	if prefix, bad := bitlocker.ParsePrefix(text); bad == nil {
		found, err = d.Find(ctx, bitlocker.Query{KeyID: prefix})
		if err != nil && !errors.Is(err, bitlocker.ErrNotStored) {
			return err
		}
		if ids := found.KeyIDs(); len(ids) > 1 {
			return usage(fmt.Errorf("%d keys begin with %s", len(ids), prefix), "fleetmend keys find %s lists them; give more digits from the recovery screen. Nothing was done", prefix)
		} else if len(ids) == 1 {
			key = ids[0]
		}
	}
	if key == "" {
		known, err := a.machinesOf(ctx, text)
		if err != nil {
			return err
		}
		for _, m := range known {
			t.add(m, "")
		}
		if len(known) > 0 {
			return nil
		}
		if found, err = d.Find(ctx, bitlocker.Query{Host: text, Serial: text}); err != nil {
			return notFound(err)
		}
	}
	for _, m := range found.Matches {
		if known, ok := t.index.find(m.Machine); ok {
			t.add(known, key)
			continue
		}
		id := "key of " + m.Machine.Label() // no ID of the inventory
		r := t.byID[id]
		if r == nil {
			r = &rotation{Name: m.Machine.Label(), KeyID: key}
			t.byID[id], t.list = r, append(t.list, r)
		}
		if !m.Deleted {
			r.refs = append(r.refs, m.KeyRef)
		}
	}
	return nil
}

// choose decides which way a machine goes, and says why.
func (r *rotation) choose(f *rotateFlags, excluded bool) {
	var ad, entra []string
	for _, ref := range r.refs {
		switch kind, _, _ := strings.Cut(ref.Source, ":"); kind {
		case "ad":
			ad = appendNew(ad, ref.Source)
		case "entra":
			entra = appendNew(entra, ref.Source)
		}
	}
	places := strings.Join(slices.Concat(ad, entra), " and ")
	switch {
	case excluded:
		r.Why = "excluded by --exclude"
	case f.via == wayIntune && len(entra) == 0:
		r.Why = "no key of it is known in Entra ID, so its device is not known there"
	case f.via == wayIntune:
		r.Way, r.Why = wayIntune, "--via intune; its keys are in "+places
	case f.via == wayWinRM:
		r.Way, r.Why = wayWinRM, "--via winrm"
	case len(ad) > 0:
		r.Way, r.Why = wayWinRM, "its keys are in "+places
	case len(entra) > 0:
		r.Way, r.Why = wayIntune, "its keys are in "+places+" alone"
	case len(r.refs) > 0:
		r.Why = "its keys are known from " + r.refs[0].Source + " alone, which nobody escrows to: give --via winrm and --escrow"
	default:
		r.Why = "no recovery key of it is known: run fleetmend keys sync, or give --via winrm"
	}
	if r.Way != wayWinRM {
		return
	}
	switch {
	case r.machine.ID == "":
		r.Way, r.Why = "", "the inventory does not know it: bring it in with fleetmend inventory sync or import"
		return
	case !r.machine.Enabled:
		r.Way, r.Why = "", "disabled in its directory"
		return
	case f.escrow != "auto":
		r.Escrow = f.escrow
	case len(ad) > 0 && len(entra) > 0:
		r.Escrow = "both"
	case len(entra) > 0:
		r.Escrow = "entra"
	default:
		r.Escrow = "ad"
	}
}

func appendNew(list []string, text string) []string {
	if slices.Contains(list, text) {
		return list
	}
	return append(list, text)
}

// rotationPlans freezes one plan for each place of escrow, for a plan holds one playbook with its parameters.
func (f *rotateFlags) rotationPlans(d *coredesk.Desk, rules runs.Rules, rows []*rotation, named string) ([]*plan.Plan, error) {
	source, err := playbook.Builtin(rotatePlaybook)
	if err != nil {
		return nil, err
	}
	minute := time.Minute
	request := runs.Request{On: named, DryRun: f.DryRun, Rules: rules}
	request.RebootWait = &minute
	var plans []*plan.Plan
	for _, escrow := range []string{"ad", "both", "entra"} { // in the order of rotationTargets
		var entries []plan.Entry
		for _, r := range rows {
			if r.Way == wayWinRM && r.Escrow == escrow {
				entries = append(entries, runs.Entry(r.machine, r.Why))
			}
		}
		if len(entries) == 0 {
			continue
		}
		request.Set = map[string]string{"volume": f.volume, "escrow": escrow, "protector": "all"}
		if key := onlyKey(rows); key != "" {
			request.Set["protector"] = string(key)
		}
		bound, err := source.Bind(request.Set)
		if err != nil {
			return nil, coded(exitUsage, err)
		}
		frozen, err := runs.Plan(d, request, entries, nil, plan.Source{Playbook: bound, Digest: source.Digest, Parameters: request.Set})
		if err != nil {
			return nil, err
		}
		plans = append(plans, frozen)
	}
	return plans, nil
}

// onlyKey is the key that was named, where it was the only thing named.
func onlyKey(rows []*rotation) bitlocker.KeyID {
	if len(rows) == 1 {
		return rows[0].KeyID
	}
	return ""
}

// errNothingToRotate ends the command where every machine is left out.
func errNothingToRotate(rows []*rotation) error {
	return coded(exitNothing, hint.Wrap(fmt.Errorf("nothing to rotate: %s is left out: %s", rows[0].Name, rows[0].Why), "the overview says why each machine is left out"))
}
