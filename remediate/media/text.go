package media

import (
	"fmt"
	"strings"

	"github.com/fleetmend/fleetmend/internal/prose"
)

// Text names every file that is not as it was built, and says how many were compared.
func (c Check) Text() string {
	var b strings.Builder
	for _, part := range []struct {
		word  string
		files []string
	}{{"changed", c.Changed}, {"missing", c.Missing}, {"added", c.Added}} {
		for _, f := range part.files {
			fmt.Fprintf(&b, "%s  %s\n", part.word, prose.OneLine(f))
		}
	}
	fmt.Fprintf(&b, "%s compared, %d changed, %d missing, %d added\nlist of hashes: SHA-256 %s\n",
		prose.Counted(c.Files, "file", "files"), len(c.Changed), len(c.Missing), len(c.Added), c.Sums)
	return b.String()
}

// Text says which machines the medium starts, what it can do and what is on it.
func (in *Inspection) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", in.Kind)
	for _, l := range in.Loaders {
		fmt.Fprintf(&b, "\n%s (%s)\n", l.Path, l.Arch)
		for _, s := range l.Signers {
			fmt.Fprintf(&b, "  signed by %s\n    issued by %s", prose.OneLine(s.Name), prose.OneLine(s.Issuer))
			if s.From != "" {
				fmt.Fprintf(&b, ", valid %s to %s (firmware does not look at dates)", s.From, s.Until)
			}
			if s.Problem != "" {
				fmt.Fprintf(&b, "\n    DOES NOT HOLD: %s", s.Problem)
			}
			b.WriteByte('\n')
		}
		for _, line := range l.Starts {
			fmt.Fprintf(&b, "  %s\n", prose.OneLine(line))
		}
	}
	if in.BIOS {
		fmt.Fprintln(&b, "\nBIOS: the disc has an entry for computers without UEFI")
	}
	for _, im := range in.Images {
		fmt.Fprintf(&b, "\n%s, image %d: %s %s %s\n", im.File, im.Index, prose.OneLine(im.Name), im.Arch, im.Version)
		if im.Boots {
			fmt.Fprintln(&b, "  this is the one that starts")
		}
		for _, c := range im.Components {
			word := "no  "
			if c.Present {
				word = "yes "
			}
			fmt.Fprintf(&b, "  %s %s\n", word, c.Purpose)
		}
	}
	in.aboard(&b)
	for _, p := range in.Problems {
		fmt.Fprintf(&b, "PROBLEM: %s\n", prose.OneLine(p))
	}
	return b.String()
}

func (in *Inspection) aboard(b *strings.Builder) {
	m := in.Medium
	if in.Kind == "WIM" {
		return
	}
	if m == nil {
		fmt.Fprintln(b, "\nnot made by fleetmend")
		return
	}
	fmt.Fprintf(b, "\nfleetmend medium %s for %s, boot files for Secure Boot %s\n  made from %s\n", m.ID, m.Arch, m.SecureBoot, prose.OneLine(m.Source))
	if m.Run != "" {
		fmt.Fprintf(b, "  run %s\n", m.Run)
	}
	for _, p := range m.Playbooks {
		fmt.Fprintf(b, "  playbook %s (%.12s)\n", p.Name, p.Digest)
	}
	for _, d := range m.Drivers {
		fmt.Fprintf(b, "  driver %s\n", prose.OneLine(d))
	}
	switch {
	case m.Keys != nil && in.Keys:
		fmt.Fprintf(b, "  keys: %d, of %s, sealed, until %s\n", m.Keys.Count, prose.Machines(m.Keys.Machines), m.Keys.Expires.Format("2006-01-02 15:04 UTC"))
	case in.Keys:
		fmt.Fprintln(b, "  keys: a sealed bundle that was put on it later")
	default:
		fmt.Fprintln(b, "  keys: none")
	}
	fmt.Fprintf(b, "  results: %d\n", in.Results)
}
