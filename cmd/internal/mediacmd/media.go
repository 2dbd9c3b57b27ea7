// Package mediacmd is the noun media of the command line: build, look at, write, serve and collect boot media.
//
// [New] makes the command; package internal/desk/media does the work.
package mediacmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	deskmedia "github.com/fleetmend/fleetmend/internal/desk/media"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/terminal"
)

// New makes the command media.
func New(c *command.Context) *cobra.Command {
	cmd := &cobra.Command{
		Use: "media", Short: "Boot media for machines that no longer start: build, write, serve, collect", GroupID: "work", Args: command.NoArgs,
		Long: `Make a USB image or an ISO from your own Windows PE (winre.wim, boot.wim or a Windows ISO), with the repair program,
playbooks, drivers and sealed keys on it. No ADK, no DISM and no administrator rights are needed; your files are only read.

The way of a stick: media build, media inspect, media write, start the broken machines from them, media collect.`,
	}
	cmd.AddCommand(newBuild(c), newDisks(c), newWrite(c), newInspect(c), newVerify(c), newCollect(c), newBundle(c), newServe(c))
	return cmd
}

func newInspect(c *command.Context) *cobra.Command {
	return command.Formats(&cobra.Command{
		Use: "inspect MEDIUM", Short: "Say which machines a medium starts, what it can do and what is on it",
		Long: `Read an image, a disk or the folder of a mounted stick, made by fleetmend or by others, and say which machines start it
under Secure Boot, what its Windows PE can do, and which playbooks, drivers and keys are aboard. The image that starts is read
whole and compared with its hashes. A WIM (winre.wim, boot.wim) is looked at likewise before a medium is built from it.

The exit code is 1 where there is a problem.`,
		Example: "fleetmend media inspect fleetmend.img\nfleetmend media inspect Win11.iso\nfleetmend media inspect winre.wim\nfleetmend media inspect /media/stick -o json",
		Args:    command.Exactly(1, "an image, a disk, a folder or a WIM"),
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
			in, err := deskmedia.Inspect(ctx, d, args[0])
			if err != nil {
				return err
			}
			err = c.Page(in, in.Text())
			if err == nil && len(in.Problems) > 0 {
				return command.Coded(command.ExitError, fmt.Errorf("%s: %s", in.Kind, prose.Counted(len(in.Problems), "problem", "problems")))
			}
			return err
		}),
	}, terminal.OneFormats...)
}
