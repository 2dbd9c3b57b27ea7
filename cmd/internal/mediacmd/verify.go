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
	"github.com/fleetmend/fleetmend/remediate/media/usb"
)

func newVerify(c *command.Context) *cobra.Command {
	var image string
	cmd := &cobra.Command{
		Use: "verify MEDIUM", Short: "Compare every file of a medium with its list of hashes, or a stick with its image",
		Long: `Read every file of an image, a disk or a mounted stick and compare it with sums.sha256 on it. Compare the SHA-256 of the
list itself with what media build said to be sure of the list. What was added (results, keys, overrides) is named and no error.

With --image every byte of a disk is compared with the image it was written from. Windows writes a little to every stick it
sees, so that only a fresh one is equal. A disk is named by path or serial number.`,
		Example: "fleetmend media verify fleetmend.img\nfleetmend media verify E:\\\nfleetmend media verify /dev/sdb --image fleetmend.img",
		Args:    command.Exactly(1, "an image, a disk or a folder"),
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
			if image != "" {
				return compare(ctx, c, d, args[0], image)
			}
			checked, err := deskmedia.Verify(ctx, d, args[0])
			if err != nil {
				return err
			}
			err = c.Page(checked, checked.Text())
			if err == nil && !checked.OK() {
				return command.Coded(command.ExitError, fmt.Errorf("the medium is not as it was built: %s changed, %s missing",
					prose.Counted(len(checked.Changed), "file", "files"), prose.Counted(len(checked.Missing), "file", "files")))
			}
			return err
		}),
	}
	cmd.Flags().StringVar(&image, "image", "", "the image that was written to the disk: compare every byte")
	command.Exits(cmd, command.ExitTimeout, command.ExitInterrupted)
	return command.Formats(cmd, terminal.OneFormats...)
}

// compare holds a disk against the image that was written to it.
func compare(ctx context.Context, c *command.Context, d *desk.Desk, name, image string) error {
	show := writing{Pace: terminal.NewPace(c.Terminal, c.Quiet, c.JSONLines), last: map[string]usb.Progress{}}
	same, err := deskmedia.Compare(ctx, d, name, image, show.progress)
	show.End()
	if err != nil {
		return err
	}
	return c.Page(same, fmt.Sprintf("%s holds the image %s, byte for byte\nSHA-256 %s\n", same.Disk.Path, prose.OneLine(image), same.SHA256))
}
