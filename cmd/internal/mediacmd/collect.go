package mediacmd

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	deskmedia "github.com/fleetmend/fleetmend/internal/desk/media"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/media/collect"
)

func newCollect(c *command.Context) *cobra.Command {
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
			return command.Usage(errors.New("media collect needs the drive, folder or image of a stick"), "see `fleetmend media collect --help`")
		},
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
			all, err := deskmedia.Collect(ctx, d, args, run)
			if err != nil {
				return err
			}
			if err := command.List(c, all, columns); err != nil {
				return err
			}
			n := collect.Count(all)
			c.Say("%s recorded, %d known before, %d not usable", prose.Counted(n.Recorded, "result", "results"), n.Again, n.Bad)
			if n.Bad+n.Failed > 0 {
				return command.Silently(command.ExitSomeFailed)
			}
			return nil
		}),
	}
	cmd.Flags().StringVar(&run, "run", "", "run to record in (default: that the medium was built for)")
	command.CompleteBy(cmd, "run", c.Offering(runs.IDs))
	command.Exits(cmd, command.ExitSomeFailed, command.ExitNothing, command.ExitLocked)
	return command.Formats(cmd, terminal.ListFormats...)
}

var columns = []terminal.Column[collect.Line]{
	terminal.Col("machine", func(l collect.Line) string { return l.Machine }),
	terminal.Col("outcome", func(l collect.Line) string { return l.Outcome }),
	terminal.Col("recorded", collect.Line.Recorded),
	terminal.Col("message", func(l collect.Line) string { return l.Message }),
	terminal.WideCol("file", func(l collect.Line) string { return l.File }),
	terminal.WideCol("run", func(l collect.Line) string { return l.Run }),
}
