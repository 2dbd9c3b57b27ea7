package keyscmd

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/fve"
	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk/keys"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

func newVerify(c *command.Context) *cobra.Command {
	var f accessFlags
	var t keys.Trial
	var keyFile string
	cmd := &cobra.Command{
		Use:   "verify IMAGE|DEVICE",
		Short: "Read a BitLocker volume: its state, its protectors, and which stored key opens it",
		Long: `Read the BitLocker metadata of a disk, a partition or an image of one, and try the keys that the vault holds for its
protectors. Nothing is written to it, and no password is shown. With --key-file a recovery password from a file (- for stdin) is
tried instead of those in the vault.

The exit code is 0 where a key opens every volume that needs one, and 3 where none does.`,
		Example: "fleetmend keys verify disk.img\nfleetmend keys verify /dev/sda3\nfleetmend keys verify '\\\\.\\PhysicalDrive1' --key-file typed.txt",
		Args:    command.Exactly(1, "an image or a device"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			t.Path = args[0]
			if keyFile != "" {
				if t.Typed, err = typed(c.In, keyFile); err != nil {
					return err
				}
			}
			return verify(cmd.Context(), c, t, f)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&keyFile, "key-file", "", "try the recovery password in the first line of this file")
	cmd.Flags().StringVar(&t.Reason, "reason", "", "a word for the audit (default: that the key was tried)")
	command.Exits(cmd, command.ExitSomeFailed)
	return command.Formats(cmd, terminal.OneFormats...)
}

// typed reads a recovery password from the first line of a file.
func typed(stdin io.Reader, name string) (bitlocker.Password, error) {
	text, err := textfile.Text{}, error(nil)
	if name == "-" {
		text, err = textfile.ReadFrom(stdin, textfile.MaxSecret)
	} else {
		text, err = textfile.Read(name, textfile.MaxSecret)
	}
	if err != nil {
		return bitlocker.Password{}, fmt.Errorf("read the recovery password: %w", err)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(text.Content), "\n")
	password, err := bitlocker.ParsePassword(strings.TrimSpace(line))
	if err != nil {
		err = hint.Wrap(err, "compare that group with the paper or the screen it came from")
	}
	return password, err
}

func verify(ctx context.Context, c *command.Context, t keys.Trial, f accessFlags) error {
	d, err := c.Desk()
	if err != nil {
		return err
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
	if err := c.One(found, func(w io.Writer) error { return writeVolumes(w, found) }); err != nil {
		return err
	}
	if closed > 0 {
		return command.Silently(command.ExitSomeFailed)
	}
	return nil
}

func writeVolumes(w io.Writer, results []keys.Verified) error {
	for i, r := range results {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if r.Partition.Number > 0 {
			fmt.Fprintf(w, "partition  %d, %d bytes at byte %d\n", r.Partition.Number, r.Partition.Size, r.Partition.Start)
		}
		if r.Volume != nil {
			writeVolume(w, r.Volume, r.Partition.Size)
		}
		for _, id := range r.Known {
			fmt.Fprintf(w, "known      %s\n", id)
		}
		switch {
		case r.OpenedBy != nil:
			fmt.Fprintf(w, "opened by  %s\n", r.OpenedBy.ID)
			if !r.OpenedBy.Genuine {
				fmt.Fprintln(w, "remark     the metadata could not be confirmed as Windows wrote them")
			}
		case r.NeedsNone && r.Volume.Suspended():
			fmt.Fprintln(w, "It needs no key: protection is suspended.")
		case r.NeedsNone:
			fmt.Fprintln(w, "It needs no key: nothing is encrypted.")
		default:
			fmt.Fprintf(w, "not opened %s\n", prose.OneLine(r.Error))
		}
	}
	return nil
}

// writeVolume says of a volume what its JSON knows.
func writeVolume(w io.Writer, v *fve.Volume, size int64) {
	fmt.Fprintf(w, "volume     %s\nmetadata   %s, %s", prose.OneLine(v.Description), v.ID, v.Layout)
	if !v.Created.IsZero() {
		fmt.Fprintf(w, ", made %s", v.Created.UTC().Format("2006-01-02 15:04 UTC"))
	}
	fmt.Fprintf(w, "\nstate      %s, %s\n", v.State, v.Method)
	if v.State.Converting() {
		fmt.Fprintf(w, "converted  up to byte %d of %d\n", v.Converted, size)
	}
	if v.Suspended() {
		fmt.Fprintln(w, "protection SUSPENDED: the key of what is encrypted lies open on the volume")
	}
	for _, p := range v.Protectors {
		words := []string{string(p.Kind)}
		if p.Kind == fve.Unknown {
			words = append(words, fmt.Sprintf("(flags %#04x)", p.Flags))
		}
		if p.Name != "" {
			words = append(words, prose.OneLine(p.Name))
		}
		if !p.Changed.IsZero() {
			words = append(words, "of "+p.Changed.UTC().Format("2006-01-02 15:04 UTC"))
		}
		fmt.Fprintf(w, "protector  %s  %s\n", p.ID, strings.Join(words, " "))
	}
	for i, c := range v.Copies {
		switch {
		case c.Damage != "":
			fmt.Fprintf(w, "DAMAGED    copy %d of %d of the metadata, at byte %d: %s\n", i+1, len(v.Copies), c.Offset, prose.OneLine(c.Damage))
		case !c.Checked:
			fmt.Fprintf(w, "remark     copy %d of %d of the metadata, at byte %d, has no checksum\n", i+1, len(v.Copies), c.Offset)
		}
	}
}
