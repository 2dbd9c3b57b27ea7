package runscmd

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/terminal"
)

func newPlan(c *Commands) *cobra.Command {
	var p planFlags
	var file string
	var detailed bool
	cmd := &cobra.Command{
		Use: "plan PLAYBOOK", Short: "Freeze what a run would do into a file, to look at and to apply later", GroupID: "work", Args: command.Between(0, 1, "one playbook"),
		Example: `fleetmend plan crowdstrike-channel-file-291 --on 'site == "LON"' --out london.plan
fleetmend plan disable-service --set service=BadAgent --waves 1,10,100% --max-fail 5% --out off.plan
fleetmend apply london.plan`,
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
			if p.request.TTL <= 0 {
				return command.Usage(fmt.Errorf("--ttl %s: such a plan could never be applied", p.request.TTL), "give a time such as 24h")
			}
			frozen, err := c.freeze(ctx, d, p.asked(args))
			if err != nil {
				return err
			}
			if file != "" {
				if err := frozen.Save(file); err != nil {
					return err
				}
				c.Say("plan written to %s, good until %s; next: `%s`", file, frozen.Expires.Local().Format("2006-01-02 15:04"), commandline.Line("apply", file))
			}
			if err := c.Page(frozen, runs.PlanText(frozen, c.Width)); err != nil || !detailed {
				return err
			}
			return command.Silently(command.ExitChanges)
		}),
	}
	p.add(c.Context, cmd)
	cmd.Flags().StringVar(&file, "out", "", "write the plan into this file")
	cmd.Flags().DurationVar(&p.request.TTL, "ttl", 24*time.Hour, "how long the plan may be applied")
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit code 10 when the plan has machines")
	command.Exits(cmd, command.ExitNothing, command.ExitChanges)
	return command.Formats(cmd, terminal.OneFormats...)
}
