package mediacmd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	deskmedia "github.com/fleetmend/fleetmend/internal/desk/media"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/media/usb"
)

func newDisks(c *command.Context) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "disks", Short: "List the sticks that are plugged in",
		Long: `List removable disks with model, serial number, size and what is on them, and why one would not be written. Nothing is
changed. Without administrator rights the content of a stick may stay unknown.`,
		Example: "fleetmend media disks\nfleetmend media disks --all -o json",
		Args:    command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := at(c, func(d *desk.Desk) ([]usb.Disk, error) { return deskmedia.Disks(cmd.Context(), d) })
			if err != nil {
				return err
			}
			if !all {
				found = slices.DeleteFunc(found, func(d usb.Disk) bool { return !d.Removable || d.Size == 0 })
			}
			if len(found) == 0 {
				c.Say("no removable disk is plugged in; --all shows the others too")
			}
			return command.List(c, found, []terminal.Column[usb.Disk]{
				terminal.Col("disk", func(d usb.Disk) string { return d.Path }),
				terminal.Col("model", func(d usb.Disk) string { return d.Model }),
				terminal.Col("serial", func(d usb.Disk) string { return d.Serial }),
				terminal.Col("size", func(d usb.Disk) string { return usb.Bytes(d.Size) }),
				terminal.WideCol("bus", func(d usb.Disk) string { return d.Bus }),
				terminal.WideCol("number", func(d usb.Disk) string { return d.Number }),
				terminal.Col("holds", usb.Disk.Holds),
				terminal.Col("not written because", refusal),
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "internal disks and empty readers too")
	return command.Formats(cmd, terminal.ListFormats...)
}

func refusal(d usb.Disk) string {
	refused := (*usb.RefusedError)(nil)
	if errors.As(d.Check(false), &refused) {
		return strings.Join(refused.Reasons, "; ")
	}
	return ""
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
				return command.Usage(fmt.Errorf("%s needs an image and at least one disk", cmd.CommandPath()), "fleetmend media disks lists them")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Image, r.Disks = args[0], args[1:]
			return write(cmd.Context(), c, r)
		},
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

// write asks about each disk before any is touched.
func write(ctx context.Context, c *command.Context, r deskmedia.WriteRequest) error {
	show := newWriting(c)
	r.Answers, r.Progress = question.Answers{}, show.progress
	for {
		results, err := at(c, func(d *desk.Desk) ([]usb.Result, error) { return deskmedia.Write(ctx, d, r) })
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
		show.end()
		if err != nil {
			return err
		}
		return written(ctx, c, results)
	}
}

// line is how a stick ended.
type line struct {
	Disk    usb.Disk `json:"disk"`
	OK      bool     `json:"ok"`
	SHA256  string   `json:"sha256,omitempty"`
	Error   string   `json:"error,omitempty"`
	Touched bool     `json:"touched"` // false: nothing was written to it
	took    time.Duration
}

// written says how each stick ended.
func written(ctx context.Context, c *command.Context, results []usb.Result) error {
	lines, failed := []line{}, 0
	for _, r := range results {
		l := line{Disk: r.Disk, OK: r.Err == nil, SHA256: r.SHA256, Touched: r.Touched, took: r.Elapsed}
		if r.Err != nil {
			failed++
			l.Error = r.Err.Error()
			c.Say("fleetmend: %s", prose.OneLine(l.Error))
			for _, h := range hint.Of(r.Err) {
				c.Say("hint: %s: %s", r.Disk.Path, h)
			}
		}
		lines = append(lines, l)
	}
	err := command.List(c, lines, []terminal.Column[line]{
		terminal.Col("disk", func(l line) string { return l.Disk.Path }),
		terminal.Col("serial", func(l line) string { return l.Disk.Serial }),
		terminal.Col("result", func(l line) string {
			switch {
			case l.OK:
				return "written and verified"
			case !l.Touched:
				return "NOT WRITTEN, as it was"
			}
			return "NOT USABLE"
		}),
		terminal.Col("took", func(l line) string { return prose.Span(l.took) }),
		terminal.WideCol("sha256 of the image", func(l line) string { return l.SHA256 }),
	})
	switch {
	case err != nil || failed == 0:
		return err
	case ctx.Err() != nil:
		return command.Silently(command.ExitCode(context.Cause(ctx)))
	case failed < len(results):
		return command.Silently(command.ExitSomeFailed)
	}
	return command.Silently(command.ExitError)
}

// writing shows how far the sticks are: one line redrawn on a terminal, a line per stick now and then elsewhere.
type writing struct {
	c      *command.Context
	redraw bool
	last   map[string]usb.Progress
	said   time.Time
}

func newWriting(c *command.Context) *writing {
	return &writing{c: c, redraw: c.ErrTTY && !c.JSONLines, last: map[string]usb.Progress{}}
}

func (w *writing) progress(p usb.Progress) {
	w.last[p.Path] = p
	now := time.Now()
	wait := 10 * time.Second
	if w.redraw {
		wait = 200 * time.Millisecond
	}
	if w.c.Quiet || now.Sub(w.said) < wait {
		return
	}
	w.said = now
	var parts []string
	for _, path := range slices.Sorted(maps.Keys(w.last)) {
		parts = append(parts, progressText(w.last[path]))
	}
	text := strings.Join(parts, "   ")
	if w.redraw {
		w.c.Status(text)
		return
	}
	w.c.Say("%s", text)
}

func (w *writing) end() { w.c.Status("") }

func progressText(p usb.Progress) string {
	text := fmt.Sprintf("%s %s %d %%", p.Path, p.Phase, 100*p.Done/max(p.Total, 1))
	if p.Rate > 0 {
		text += fmt.Sprintf(" %s/s", usb.Bytes(p.Rate))
	}
	if p.Left > 0 {
		text += " " + prose.Span(p.Left) + " left"
	}
	return text
}
