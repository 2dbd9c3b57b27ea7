package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/media/aboard"
	"github.com/fleetmend/fleetmend/remediate/media/collect"
)

func newMediaCollect(a *app) *cobra.Command {
	var run string
	cmd := &cobra.Command{
		Use: "collect MEDIUM...", Short: "Record the results that machines left on sticks in the journal",
		Long: `Read the results on sticks that come back and record them in the run they were built for, so that its report counts these
machines too. Each file counts once per machine, however often a stick is read. Nothing on the stick is changed.`,
		Example: "fleetmend media collect E:\\ F:\\\nfleetmend media collect /media/stick --run last",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return nil
			}
			return usage(errors.New("media collect needs the drive, folder or image of a stick"), "see fleetmend media collect --help")
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.mediaCollect(cmd.Context(), args, run) },
	}
	cmd.Flags().StringVar(&run, "run", "", "run to record in (default: that the medium was built for)")
	exits(cmd, exitSomeFailed, exitNothing, exitLocked)
	return cmd
}

func (a *app) mediaCollect(ctx context.Context, names []string, run string) error {
	j, err := a.openJournal(ctx)
	if err != nil {
		return err
	}
	if run != "" {
		_, r, err := a.findRun(ctx, run)
		if err != nil {
			return err
		}
		run = r.ID
	}
	find, err := a.machineByHardware(ctx)
	if err != nil {
		return err
	}
	var all []collect.Line
	for _, name := range names {
		m, err := a.openMedium(ctx, name)
		if err != nil {
			return err
		}
		lines, err := collect.Into(ctx, j, m.FS, collect.Options{Run: run, Find: find})
		all = append(all, lines...)
		if err = errors.Join(err, m.Close()); err != nil && !errors.Is(err, collect.ErrNoResults) {
			return err
		}
	}
	if len(all) == 0 {
		return coded(exitNothing, hint.Wrap(collect.ErrNoResults, "give the root of the stick; a disc cannot keep results"))
	}
	if err := list(a.out, a.streams.Out, all, collectColumns); err != nil {
		return err
	}
	recorded, again, bad, failed := 0, 0, 0, 0
	for _, l := range all {
		switch {
		case l.Problem != "":
			bad++
		case l.New:
			recorded++
		default:
			again++
		}
		if l.Outcome == agent.Failed {
			failed++
		}
	}
	a.say("%s recorded, %d known before, %d not usable", counted(recorded, "result", "results"), again, bad)
	if bad+failed > 0 {
		return silently(exitSomeFailed)
	}
	return nil
}

var collectColumns = []column[collect.Line]{
	{"machine", false, func(l collect.Line) string { return l.Machine }},
	{"outcome", false, func(l collect.Line) string { return l.Outcome }},
	{"recorded", false, func(l collect.Line) string {
		switch {
		case l.Problem != "":
			return "no: " + l.Problem
		case !l.New:
			return "known before"
		case !l.Counted:
			return "yes, the outcome stays as it was"
		}
		return "yes"
	}},
	{"message", false, func(l collect.Line) string { return l.Message }},
	{"file", true, func(l collect.Line) string { return l.File }},
	{"run", true, func(l collect.Line) string { return l.Run }},
}

// machineByHardware finds a machine of the inventory by UUID or serial number.
func (a *app) machineByHardware(ctx context.Context) (func(aboard.Machine) string, error) {
	store, err := a.openStore(ctx)
	if err != nil {
		return nil, err
	}
	everything, err := inventory.ParseSelector("all", nil)
	if err != nil {
		return nil, err
	}
	machines, err := store.Select(ctx, everything)
	if err != nil {
		return nil, err
	}
	byKey := map[string]string{} // "" where two machines share it
	add := func(key, id string) {
		if key == "" {
			return
		}
		if _, twice := byKey[key]; twice {
			id = ""
		}
		byKey[key] = id
	}
	for i := range machines {
		m := &machines[i]
		add(hardwareKey("uuid", m.Claims.SMBIOS), m.ID)
		add(hardwareKey("serial", m.Serial), m.ID)
	}
	return func(m aboard.Machine) string {
		if id := byKey[hardwareKey("uuid", m.UUID)]; id != "" {
			return id
		}
		return byKey[hardwareKey("serial", m.Serial)]
	}, nil
}

func hardwareKey(kind, value string) string {
	value = strings.ToLower(strings.TrimSpace(value))
	if value == "" {
		return ""
	}
	return kind + " " + value
}
