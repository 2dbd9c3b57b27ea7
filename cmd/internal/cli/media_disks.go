package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/media/usb"
)

// disks is the system whose disks are listed and written.
func (a *app) disks() usb.System {
	if a.usb != nil {
		return a.usb
	}
	return usb.Local()
}

func newMediaDisks(a *app) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "disks", Short: "List the sticks that are plugged in",
		Long: `List removable disks with model, serial number, size and what is on them, and why one would not be written. Nothing is
changed. Without administrator rights the content of a stick may stay unknown.`,
		Example: "fleetmend media disks\nfleetmend media disks --all -o json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := a.disks().Disks(cmd.Context())
			if err != nil {
				return err
			}
			if !all {
				found = slices.DeleteFunc(found, func(d usb.Disk) bool { return !d.Removable || d.Size == 0 })
			}
			if len(found) == 0 {
				a.say("no removable disk is plugged in; --all shows the others too")
			}
			return list(a.out, a.streams.Out, found, []column[usb.Disk]{
				{"disk", false, func(d usb.Disk) string { return d.Path }},
				{"model", false, func(d usb.Disk) string { return d.Model }},
				{"serial", false, func(d usb.Disk) string { return d.Serial }},
				{"size", false, func(d usb.Disk) string { return usb.Bytes(d.Size) }},
				{"bus", true, func(d usb.Disk) string { return d.Bus }},
				{"holds", false, usb.Disk.Holds},
				{"not written because", false, refusal},
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "internal disks and empty readers too")
	return cmd
}

func refusal(d usb.Disk) string {
	refused := (*usb.RefusedError)(nil)
	if errors.As(d.Check(false), &refused) {
		return strings.Join(refused.Reasons, "; ")
	}
	return ""
}

type writeFlags struct {
	yes, force bool
	serials    []string
	sum        string
}

func newMediaWrite(a *app) *cobra.Command {
	var w writeFlags
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
				return usage(fmt.Errorf("%s needs an image and at least one disk", cmd.CommandPath()), "fleetmend media disks lists them")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.mediaWrite(cmd.Context(), args[0], args[1:], w)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&w.yes, "yes", "y", false, "do not ask; only with --serial")
	f.StringSliceVar(&w.serials, "serial", nil, "serial numbers of the disks that may be written; for those without one, the size in bytes")
	f.BoolVar(&w.force, "force", false, "write disks above 256 GB too")
	f.StringVar(&w.sum, "sha256", "", "SHA-256 that the image must have")
	exits(cmd, exitSomeFailed, exitTimeout, exitInterrupted)
	cmd.Annotations["exit"] = strings.Replace(cmd.Annotations["exit"], exitMeaning[exitSomeFailed], "some sticks could not be written; the others are good", 1)
	return cmd
}

func (a *app) mediaWrite(ctx context.Context, name string, wanted []string, w writeFlags) error {
	if w.yes && len(w.serials) == 0 {
		return usage(errorf("--yes erases disks without a question and therefore needs --serial"), "fleetmend media disks shows the serial numbers")
	}
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("open the image: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return usage(fmt.Errorf("%q is not an image", name), "give a file made by fleetmend media build")
	}
	chosen, err := a.chooseDisks(ctx, wanted, w)
	if err != nil {
		return err
	}
	image := usb.FromReader(f, st.Size())
	image.SHA256 = strings.TrimSpace(w.sum)
	show := a.newWriting()
	results, err := usb.Write(ctx, image, chosen, usb.Options{System: a.disks(), Force: w.force, Progress: show.progress})
	show.end()
	if err != nil {
		return err
	}
	return a.written(ctx, results)
}

// chooseDisks finds the disks and has each confirmed before any is touched.
func (a *app) chooseDisks(ctx context.Context, wanted []string, w writeFlags) ([]usb.Disk, error) {
	all, err := a.disks().Disks(ctx)
	if err != nil {
		return nil, err
	}
	var chosen []usb.Disk
	for _, name := range wanted {
		d, err := usb.Find(all, name)
		if err == nil {
			err = d.Check(w.force)
		}
		if err != nil {
			return nil, err
		}
		if !strings.EqualFold(name, d.Path) {
			a.say("%s is %s", oneLine(name), d.Path)
		}
		word := d.Serial
		if word == "" {
			word = fmt.Sprint(d.Size)
		}
		if len(w.serials) > 0 && !slices.Contains(w.serials, word) {
			return nil, usage(fmt.Errorf("%s has %q, which is not among --serial %s", d.Path, word, strings.Join(w.serials, ",")), "Look at fleetmend media disks again: is it the right stick?")
		}
		if err := a.confirmDisk(ctx, d, word, w.yes); err != nil {
			return nil, err
		}
		chosen = append(chosen, d)
	}
	return chosen, nil
}

func (a *app) confirmDisk(ctx context.Context, d usb.Disk, word string, yes bool) error {
	if yes {
		return nil
	}
	if !a.canAsk() {
		return usage(errorf("erasing %s needs a confirmation, and there is nobody to ask", d.Path), "add --yes with --serial %s", word)
	}
	a.say("%s: %s, %s, holds %s. ALL OF IT WILL BE LOST.", d.Path, oneLine(d.Model), usb.Bytes(d.Size), oneLine(d.Holds()))
	return a.confirm(ctx, false, "", d.Path+" "+word)
}

// written says how each stick ended.
func (a *app) written(ctx context.Context, results []usb.Result) error {
	type line struct {
		Disk   usb.Disk `json:"disk"`
		OK     bool     `json:"ok"`
		SHA256 string   `json:"sha256,omitempty"`
		Error  string   `json:"error,omitempty"`
		// Touched is false where nothing was written to the disk.
		Touched bool `json:"touched"`
		took    time.Duration
	}
	lines, failed := []line{}, 0
	for _, r := range results {
		l := line{Disk: r.Disk, OK: r.Err == nil, SHA256: r.SHA256, Touched: r.Touched, took: r.Elapsed}
		if r.Err != nil {
			failed++
			l.Error = r.Err.Error()
			a.say("fleetmend: %s", oneLine(l.Error))
			for _, h := range hint.Of(r.Err) {
				a.say("hint: %s: %s", r.Disk.Path, h)
			}
		}
		lines = append(lines, l)
	}
	err := list(a.out, a.streams.Out, lines, []column[line]{
		{"disk", false, func(l line) string { return l.Disk.Path }},
		{"serial", false, func(l line) string { return l.Disk.Serial }},
		{"result", false, func(l line) string {
			switch {
			case l.OK:
				return "written and verified"
			case !l.Touched:
				return "NOT WRITTEN, as it was"
			}
			return "NOT USABLE"
		}},
		{"took", false, func(l line) string { return span(l.took) }},
		{"sha256 of the image", true, func(l line) string { return l.SHA256 }},
	})
	switch {
	case err != nil || failed == 0:
		return err
	case ctx.Err() != nil:
		return silently(exitCode(context.Cause(ctx)))
	case failed < len(results):
		return silently(exitSomeFailed)
	}
	return silently(exitError)
}

// writing shows how far the sticks are: one line redrawn on a terminal, a line per stick now and then elsewhere.
type writing struct {
	w             io.Writer
	redraw, quiet bool
	last          map[string]usb.Progress
	said          time.Time
	width         int
}

func (a *app) newWriting() *writing {
	return &writing{w: a.streams.Err, redraw: a.streams.ErrTTY && !a.jsonLines, quiet: a.quiet, last: map[string]usb.Progress{}, width: a.streams.Width}
}

func (w *writing) progress(p usb.Progress) {
	w.last[p.Path] = p
	now := time.Now()
	wait := 10 * time.Second
	if w.redraw {
		wait = 200 * time.Millisecond
	}
	if w.quiet || now.Sub(w.said) < wait {
		return
	}
	w.said = now
	var parts []string
	for _, path := range slices.Sorted(maps.Keys(w.last)) {
		parts = append(parts, progressText(w.last[path]))
	}
	text := strings.Join(parts, "   ")
	if w.redraw {
		if len(text) >= w.width {
			text = text[:max(w.width-1, 0)]
		}
		fmt.Fprintf(w.w, "\r%s\x1b[K", text)
		return
	}
	fmt.Fprintln(w.w, text)
}

func (w *writing) end() {
	if w.redraw && !w.quiet && len(w.last) > 0 {
		fmt.Fprintln(w.w)
	}
}

func progressText(p usb.Progress) string {
	text := fmt.Sprintf("%s %s %d %%", p.Path, p.Phase, 100*p.Done/max(p.Total, 1))
	if p.Rate > 0 {
		text += fmt.Sprintf(" %s/s", usb.Bytes(p.Rate))
	}
	if p.Left > 0 {
		text += " " + span(p.Left) + " left"
	}
	return text
}
