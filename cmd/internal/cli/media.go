package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/remediate/media"
)

func newMedia(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "media", Short: "Boot media for machines that no longer start: build, write, serve, collect", GroupID: "work", Args: noArgs,
		Long: `Make a USB image or an ISO from your own Windows PE (winre.wim, boot.wim or a Windows ISO), with the repair program,
playbooks, drivers and sealed keys on it. No ADK, no DISM and no administrator rights are needed; your files are only read.

The way of a stick: media build, media inspect, media write, start the broken machines from them, media collect.`,
	}
	cmd.AddCommand(newMediaBuild(a), newMediaDisks(a), newMediaWrite(a), newMediaInspect(a), newMediaVerify(a), newMediaCollect(a),
		newMediaBundle(a), newMediaServe(a))
	return cmd
}

func newMediaInspect(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "inspect MEDIUM", Short: "Say which machines a medium starts, what it can do and what is on it",
		Long: `Read an image, a disk or the folder of a mounted stick, made by fleetmend or by others, and say which machines start it
under Secure Boot, what its Windows PE can do, and which playbooks, drivers and keys are aboard. The image that starts is read
whole and compared with its hashes. A WIM (winre.wim, boot.wim) is looked at likewise before a medium is built from it.

The exit code is 1 where there is a problem.`,
		Example: "fleetmend media inspect fleetmend.img\nfleetmend media inspect Win11.iso\nfleetmend media inspect winre.wim\nfleetmend media inspect /media/stick -o json",
		Args:    exactly(1, "an image, a disk or a folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := a.openMedium(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			in, err := m.Inspect(cmd.Context())
			if err = errors.Join(err, m.Close()); err != nil {
				return err
			}
			err = one(a.out, a.streams.Out, in, func(w io.Writer) error { return showInspection(w, in) })
			if err == nil && len(in.Problems) > 0 {
				return coded(exitError, fmt.Errorf("%s: %s", in.Kind, counted(len(in.Problems), "problem", "problems")))
			}
			return err
		},
	}
}

func showCheck(w io.Writer, c media.Check) error {
	for _, part := range []struct {
		word  string
		files []string
	}{{"changed", c.Changed}, {"missing", c.Missing}, {"added", c.Added}} {
		for _, f := range part.files {
			fmt.Fprintf(w, "%s  %s\n", part.word, oneLine(f))
		}
	}
	_, err := fmt.Fprintf(w, "%s compared, %d changed, %d missing, %d added\nlist of hashes: SHA-256 %s\n",
		counted(c.Files, "file", "files"), len(c.Changed), len(c.Missing), len(c.Added), c.Sums)
	return err
}

func showInspection(w io.Writer, in *media.Inspection) error {
	fmt.Fprintf(w, "%s\n", in.Kind)
	for _, l := range in.Loaders {
		fmt.Fprintf(w, "\n%s (%s)\n", l.Path, l.Arch)
		for _, s := range l.Signers {
			fmt.Fprintf(w, "  signed by %s\n    issued by %s", oneLine(s.Name), oneLine(s.Issuer))
			if s.From != "" {
				fmt.Fprintf(w, ", valid %s to %s (firmware does not look at dates)", s.From, s.Until)
			}
			if s.Problem != "" {
				fmt.Fprintf(w, "\n    DOES NOT HOLD: %s", s.Problem)
			}
			fmt.Fprintln(w)
		}
		for _, line := range l.Starts {
			fmt.Fprintf(w, "  %s\n", oneLine(line))
		}
	}
	if in.BIOS {
		fmt.Fprintln(w, "\nBIOS: the disc has an entry for computers without UEFI")
	}
	for _, im := range in.Images {
		fmt.Fprintf(w, "\n%s, image %d: %s %s %s\n", im.File, im.Index, oneLine(im.Name), im.Arch, im.Version)
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
		fmt.Fprintf(w, "PROBLEM: %s\n", oneLine(p))
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
	fmt.Fprintf(w, "\nfleetmend medium %s for %s, boot files for Secure Boot %s\n  made from %s\n", m.ID, m.Arch, m.SecureBoot, oneLine(m.Source))
	if m.Run != "" {
		fmt.Fprintf(w, "  run %s\n", m.Run)
	}
	for _, p := range m.Playbooks {
		fmt.Fprintf(w, "  playbook %s (%.12s)\n", p.Name, p.Digest)
	}
	for _, d := range m.Drivers {
		fmt.Fprintf(w, "  driver %s\n", oneLine(d))
	}
	switch {
	case m.Keys != nil && in.Keys:
		fmt.Fprintf(w, "  keys: %d, of %s, sealed, until %s\n", m.Keys.Count, machinesText(m.Keys.Machines), m.Keys.Expires.Format("2006-01-02 15:04 UTC"))
	case in.Keys:
		fmt.Fprintln(w, "  keys: a sealed bundle that was put on it later")
	default:
		fmt.Fprintln(w, "  keys: none")
	}
	fmt.Fprintf(w, "  results: %d\n", in.Results)
}
