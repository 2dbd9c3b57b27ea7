// Package mediacmd is the noun media of the command line: build, look at, write, serve and collect boot media.
//
// [New] makes the command; package internal/desk/media does the work.
package mediacmd

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	deskmedia "github.com/fleetmend/fleetmend/internal/desk/media"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/media"
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

// ended gives the errors of the desk their exit codes.
func ended(err error) error {
	if nothing := (*deskmedia.NothingError)(nil); errors.As(err, &nothing) {
		return command.Coded(command.ExitNothing, err)
	}
	return err
}

// at runs a use case at the desk of the command.
func at[T any](c *command.Context, use func(*desk.Desk) (T, error)) (T, error) {
	d, err := c.Desk()
	if err != nil {
		var none T
		return none, err
	}
	result, err := use(d)
	return result, ended(err)
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
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := at(c, func(d *desk.Desk) (*media.Inspection, error) { return deskmedia.Inspect(cmd.Context(), d, args[0]) })
			if err != nil {
				return err
			}
			err = c.One(in, func(w io.Writer) error { return showInspection(w, in) })
			if err == nil && len(in.Problems) > 0 {
				return command.Coded(command.ExitError, fmt.Errorf("%s: %s", in.Kind, prose.Counted(len(in.Problems), "problem", "problems")))
			}
			return err
		},
	}, terminal.OneFormats...)
}

func showCheck(w io.Writer, c media.Check) error {
	for _, part := range []struct {
		word  string
		files []string
	}{{"changed", c.Changed}, {"missing", c.Missing}, {"added", c.Added}} {
		for _, f := range part.files {
			fmt.Fprintf(w, "%s  %s\n", part.word, prose.OneLine(f))
		}
	}
	_, err := fmt.Fprintf(w, "%s compared, %d changed, %d missing, %d added\nlist of hashes: SHA-256 %s\n",
		prose.Counted(c.Files, "file", "files"), len(c.Changed), len(c.Missing), len(c.Added), c.Sums)
	return err
}

func showInspection(w io.Writer, in *media.Inspection) error {
	fmt.Fprintf(w, "%s\n", in.Kind)
	for _, l := range in.Loaders {
		fmt.Fprintf(w, "\n%s (%s)\n", l.Path, l.Arch)
		for _, s := range l.Signers {
			fmt.Fprintf(w, "  signed by %s\n    issued by %s", prose.OneLine(s.Name), prose.OneLine(s.Issuer))
			if s.From != "" {
				fmt.Fprintf(w, ", valid %s to %s (firmware does not look at dates)", s.From, s.Until)
			}
			if s.Problem != "" {
				fmt.Fprintf(w, "\n    DOES NOT HOLD: %s", s.Problem)
			}
			fmt.Fprintln(w)
		}
		for _, line := range l.Starts {
			fmt.Fprintf(w, "  %s\n", prose.OneLine(line))
		}
	}
	if in.BIOS {
		fmt.Fprintln(w, "\nBIOS: the disc has an entry for computers without UEFI")
	}
	for _, im := range in.Images {
		fmt.Fprintf(w, "\n%s, image %d: %s %s %s\n", im.File, im.Index, prose.OneLine(im.Name), im.Arch, im.Version)
		if im.Boots {
			fmt.Fprintln(w, "  this is the one that starts")
		}
		for _, c := range im.Components {
			word := "no  "
			if c.Present {
				word = "yes "
			}
			fmt.Fprintf(w, "  %s %s\n", word, c.Purpose)
		}
	}
	showAboard(w, in)
	for _, p := range in.Problems {
		fmt.Fprintf(w, "PROBLEM: %s\n", prose.OneLine(p))
	}
	return nil
}

func showAboard(w io.Writer, in *media.Inspection) {
	m := in.Medium
	if in.Kind == "WIM" {
		return
	}
	if m == nil {
		fmt.Fprintln(w, "\nnot made by fleetmend")
		return
	}
	fmt.Fprintf(w, "\nfleetmend medium %s for %s, boot files for Secure Boot %s\n  made from %s\n", m.ID, m.Arch, m.SecureBoot, prose.OneLine(m.Source))
	if m.Run != "" {
		fmt.Fprintf(w, "  run %s\n", m.Run)
	}
	for _, p := range m.Playbooks {
		fmt.Fprintf(w, "  playbook %s (%.12s)\n", p.Name, p.Digest)
	}
	for _, d := range m.Drivers {
		fmt.Fprintf(w, "  driver %s\n", prose.OneLine(d))
	}
	switch {
	case m.Keys != nil && in.Keys:
		fmt.Fprintf(w, "  keys: %d, of %s, sealed, until %s\n", m.Keys.Count, prose.Machines(m.Keys.Machines), m.Keys.Expires.Format("2006-01-02 15:04 UTC"))
	case in.Keys:
		fmt.Fprintln(w, "  keys: a sealed bundle that was put on it later")
	default:
		fmt.Fprintln(w, "  keys: none")
	}
	fmt.Fprintf(w, "  results: %d\n", in.Results)
}
