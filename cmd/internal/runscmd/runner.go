package runscmd

import (
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/terminal"
)

// RunnerCommand is the command that carries one run out as a process of its own. Nobody types it.
const RunnerCommand = "internal-runner"

func newRunner(c *Commands) *cobra.Command {
	return &cobra.Command{
		Use: RunnerCommand, Short: "Carry out the run that standard input describes", Hidden: true, Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, ok := c.Out.(io.WriteCloser)
			if !ok || c.InTTY {
				return command.Usage(errors.New("this is what fleetmend starts for a run; it is no command for people"), "`fleetmend run` starts a run")
			}
			terminal.WithoutTerminal()
			d, err := c.Desk()
			if err != nil {
				return err
			}
			ctx, release := cmd.Context(), func() {}
			defer func() { release() }()
			return runs.Carry(ctx, d, c.In, out, func(stop func()) {
				release = terminal.OnFirstInterrupt(ctx, stop, func() {}) // a system that shuts down asks like Ctrl-C
			})
		},
	}
}
