package inventorycmd

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/machines"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/terminal"
)

func newSync(c *command.Context) *cobra.Command {
	var full bool
	var dcs []string
	cmd := &cobra.Command{
		Use: "sync", Args: command.NoArgs, Short: "Read the machines from Active Directory: what changed, or all of them",
		Long: `Read the machines of the directory in the settings and merge them with what is known: SID and object GUID identify a machine,
so that one that was renamed or installed anew is found again. The roll of all machines is called each time, so that what was
deleted, moved, renamed, or put into a group is seen by every account that may list computers; the rest of a machine is read
where it changed. Everything is read the first time, with --full, after a week or 20 times, and when too much has happened.
What has vanished is marked, not deleted; where it is more than a fifth, only with --full: lost rights look the same. No
password and no recovery key is read.

When no domain controller answers, what was read before stays usable; the message says how old it is.`,
		Example: "fleetmend inventory sync\nfleetmend inventory sync --full --dc dc1.corp.example=10.0.0.5",
		RunE: c.At(func(ctx context.Context, d *desk.Desk, _ []string) error {
			synced, err := machines.Sync(ctx, d, dcs, full)
			if stale := (*machines.StaleError)(nil); errors.As(err, &stale) {
				for _, s := range stale.Usable {
					c.Say("%s was read %s: its %s stay usable", s.Source, prose.Ago(s.ReadAt, time.Now()), prose.Machines(s.Machines))
				}
			}
			if err != nil {
				return err
			}
			return c.Page([]machines.Synced{synced}, synced.Text())
		}),
	}
	cmd.Flags().BoolVar(&full, "full", false, "read all machines, and mark as gone what is not among them, however much that is")
	cmd.Flags().StringSliceVar(&dcs, "dc", nil, "domain controllers to ask: dc1.corp.example, or dc1.corp.example=10.0.0.5 without DNS")
	command.Exits(cmd, command.ExitAuth)
	return command.Formats(cmd, terminal.OneFormats...)
}
