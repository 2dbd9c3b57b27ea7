package keyscmd

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/keys"
	"github.com/fleetmend/fleetmend/internal/terminal"
)

func newVerify(c *command.Context) *cobra.Command {
	var f accessFlags
	var t keys.Trial
	var keyFile string
	cmd := &cobra.Command{
		Use: "verify IMAGE|DEVICE", Short: "Read a BitLocker volume: its state, its protectors, and which stored key opens it",
		Long: `Read the BitLocker metadata of a disk, a partition or an image of one, and try the keys that the vault holds for its
protectors. Nothing is written to it, and no password is shown. With --key-file a recovery password from a file (- for stdin) is
tried instead of those in the vault.

The exit code is 0 where a key opens every volume that needs one, and 3 where none does.`,
		Example: "fleetmend keys verify disk.img\nfleetmend keys verify /dev/sda3\nfleetmend keys verify '\\\\.\\PhysicalDrive1' --key-file typed.txt",
		Args:    command.Exactly(1, "an image or a device"),
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) (err error) {
			t.Path = args[0]
			if keyFile != "" {
				if t.Typed, err = keys.Typed(c.In, keyFile); err != nil {
					return err
				}
			}
			found, err := keys.Verify(ctx, d, t, f.Access)
			if err != nil {
				return err
			}
			closed := 0
			for _, v := range found {
				for _, h := range v.Hints {
					c.Say("hint: %s", h)
				}
				if v.OpenedBy == nil && !v.NeedsNone {
					closed++
				}
			}
			if err := c.Page(found, keys.VolumesText(found)); err != nil {
				return err
			}
			if closed > 0 {
				return command.Silently(command.ExitSomeFailed)
			}
			return nil
		}),
	}
	f.add(cmd)
	cmd.Flags().StringVar(&keyFile, "key-file", "", "try the recovery password in the first line of this file")
	cmd.Flags().StringVar(&t.Reason, "reason", "", "a word for the audit (default: that the key was tried)")
	command.Exits(cmd, command.ExitSomeFailed)
	return command.Formats(cmd, terminal.OneFormats...)
}
