package mediacmd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	deskmedia "github.com/fleetmend/fleetmend/internal/desk/media"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/media/usb"
)

var diskColumns = []terminal.Column[usb.Disk]{
	terminal.Col("disk", func(d usb.Disk) string { return d.Path }),
	terminal.Col("model", func(d usb.Disk) string { return d.Model }),
	terminal.Col("serial", func(d usb.Disk) string { return d.Serial }),
	terminal.Col("size", func(d usb.Disk) string { return usb.Bytes(d.Size) }),
	terminal.WideCol("bus", func(d usb.Disk) string { return d.Bus }),
	terminal.WideCol("number", func(d usb.Disk) string { return d.Number }),
	terminal.Col("holds", usb.Disk.Holds),
	terminal.Col("not written because", usb.Disk.Refusal),
}

func newDisks(c *command.Context) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "disks", Short: "List the sticks that are plugged in", Args: command.NoArgs,
		Long: `List removable disks with model, serial number, size and what is on them, and why one would not be written. Nothing is
changed. Without administrator rights the content of a stick may stay unknown.`,
		Example: "fleetmend media disks\nfleetmend media disks --all -o json",
		RunE: command.Listed(c, diskColumns, func(ctx context.Context, d *desk.Desk, _ []string) ([]usb.Disk, error) {
			found, err := deskmedia.Disks(ctx, d)
			if !all {
				found = slices.DeleteFunc(found, func(d usb.Disk) bool { return !d.Removable || d.Size == 0 })
			}
			if err == nil && len(found) == 0 {
				c.Say("no removable disk is plugged in; --all shows the others too")
			}
			return found, err
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "internal disks and empty readers too")
	return command.Formats(cmd, terminal.ListFormats...)
}

func newWrite(c *command.Context) *cobra.Command {
	var r deskmedia.WriteRequest
	cmd := &cobra.Command{
		Use: "write IMAGE DISK...", Short: "Write an image to one or several sticks and verify them",
		Long: `Write an image to sticks, several at once, read everything back and compare it. All that was on them is lost, which is why
you type the name and serial number of each. System, internal and mounted disks are refused, and so is an image that no
firmware could start or that has not the hash given with --sha256; then nothing is touched.

The beginning of a stick is written last, after all the rest was found right: a stick that was pulled, cancelled, or that
lies about its size does not look bootable. The disks are named by path, by a link to it (/dev/disk/by-id/...) or by serial
number. What is written is the disk that was shown: its number, serial number and size are compared once it is open.`,
		Example: "fleetmend media write fleetmend.img /dev/sdb\nfleetmend media write fleetmend.img \\\\.\\PhysicalDrive2\nfleetmend media write fleetmend.img /dev/sdb /dev/sdc --yes --serial 60A44C4138,60A44C4139",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return command.Usage(fmt.Errorf("%s needs an image and at least one disk", cmd.CommandPath()), "`fleetmend media disks` lists them")
			}
			return nil
		},
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
			r.Image, r.Disks = args[0], args[1:]
			return write(ctx, c, d, r)
		}),
	}
	f := cmd.Flags()
	f.BoolVarP(&r.Sure, "yes", "y", false, "do not ask; only with --serial")
	f.StringSliceVar(&r.Serials, "serial", nil, "serial numbers of the disks that may be written; for those without one, the size in bytes")
	f.BoolVar(&r.Force, "force", false, "write disks above 256 GB too")
	f.StringVar(&r.SHA256, "sha256", "", "SHA-256 that the image must have")
	command.Exits(cmd, command.ExitSomeFailed, command.ExitTimeout, command.ExitInterrupted)
	cmd.Annotations["exit"] = strings.Replace(cmd.Annotations["exit"], command.ExitMeaning[command.ExitSomeFailed], "some sticks could not be written; the others are good", 1)
	return command.Formats(cmd, terminal.ListFormats...)
}

// write asks about each disk before any is touched, and says how each ended.
func write(ctx context.Context, c *command.Context, d *desk.Desk, r deskmedia.WriteRequest) error {
	show := writing{Pace: terminal.NewPace(c.Terminal, c.Quiet, c.JSONLines), last: map[string]usb.Progress{}}
	r.Answers, r.Progress = question.Answers{}, show.progress
	for {
		sticks, err := deskmedia.Write(ctx, d, r)
		needed := (*question.NeededError)(nil)
		switch {
		case errors.As(err, &needed) && c.CanAsk():
			answer, err := c.Ask(ctx, needed.Question)
			if err != nil {
				return err
			}
			r.Answers[needed.Question.ID] = answer
			continue
		case errors.As(err, &needed):
			disk, _, _ := strings.Cut(needed.Question.Word, " ")
			return command.Usage(fmt.Errorf("erasing %s needs a confirmation, and there is nobody to ask", disk), "%s", needed.Question.Flag)
		}
		show.End()
		if err != nil {
			return err
		}
		return ended(ctx, c, sticks)
	}
}

var stickColumns = []terminal.Column[deskmedia.Written]{
	terminal.Col("disk", func(s deskmedia.Written) string { return s.Disk.Path }),
	terminal.Col("serial", func(s deskmedia.Written) string { return s.Disk.Serial }),
	terminal.Col("result", deskmedia.Written.Result),
	terminal.Col("took", func(s deskmedia.Written) string { return prose.Span(s.Took) }),
	terminal.WideCol("sha256 of the image", func(s deskmedia.Written) string { return s.SHA256 }),
}

func ended(ctx context.Context, c *command.Context, sticks []deskmedia.Written) error {
	failed := 0
	for _, s := range sticks {
		if s.OK {
			continue
		}
		failed++
		c.Say("fleetmend: %s", prose.OneLine(s.Error))
		for _, h := range s.Hints {
			c.Say("hint: %s: %s", s.Disk.Path, h)
		}
	}
	err := command.List(c, sticks, stickColumns)
	switch {
	case err != nil || failed == 0:
		return err
	case ctx.Err() != nil:
		return command.Silently(command.ExitCode(context.Cause(ctx)))
	case failed < len(sticks):
		return command.Silently(command.ExitSomeFailed)
	}
	return command.Silently(command.ExitError)
}

// writing shows how far the sticks are, all in one line.
type writing struct {
	*terminal.Pace
	last map[string]usb.Progress
}

func (w writing) progress(p usb.Progress) {
	w.last[p.Path] = p
	w.Show(func() string {
		var parts []string
		for _, path := range slices.Sorted(maps.Keys(w.last)) {
			parts = append(parts, w.last[path].Text())
		}
		return strings.Join(parts, "   ")
	})
}
