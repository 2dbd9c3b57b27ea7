package inventorycmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/cmd/internal/terminal"
	"github.com/fleetmend/fleetmend/internal/desk/machines"
)

// syncFlags are the flags of inventory sync.
type syncFlags struct {
	full bool
	dcs  []string
}

func newSync(c *command.Context) *cobra.Command {
	var f syncFlags
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Read the machines from Active Directory: what changed, or all of them",
		Long: `Read the machines of the directory in the settings and merge them with what is known: SID and object GUID identify a machine,
so that one that was renamed or installed anew is found again. The roll of all machines is called each time, so that what was
deleted, moved, renamed, or put into a group is seen by every account that may list computers; the rest of a machine is read
where it changed. Everything is read the first time, with --full, after a week or 20 times, and when too much has happened.
What has vanished is marked, not deleted; where it is more than a fifth, only with --full: lost rights look the same. No
password and no recovery key is read.

When no domain controller answers, what was read before stays usable; the message says how old it is.`,
		Example: "fleetmend inventory sync\nfleetmend inventory sync --full --dc dc1.corp.example=10.0.0.5",
		Args:    command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return syncInventory(cmd.Context(), c, f)
		},
	}
	cmd.Flags().BoolVar(&f.full, "full", false, "read all machines, and mark as gone what is not among them, however much that is")
	cmd.Flags().StringSliceVar(&f.dcs, "dc", nil, "domain controllers to ask: dc1.corp.example, or dc1.corp.example=10.0.0.5 without DNS")
	command.Exits(cmd, command.ExitAuth)
	return command.Formats(cmd, terminal.OneFormats...)
}

func syncInventory(ctx context.Context, c *command.Context, f syncFlags) error {
	d, err := c.Desk()
	if err != nil {
		return err
	}
	synced, err := machines.Sync(ctx, d, f.dcs, f.full)
	if stale := (*machines.StaleError)(nil); errors.As(err, &stale) {
		for _, s := range stale.Usable {
			c.Say("%s was read %s: its %s stay usable", s.Source, terminal.Ago(s.ReadAt, time.Now()), terminal.Machines(s.Machines))
		}
	}
	if err != nil {
		return err
	}
	all := []machines.Synced{synced}
	return c.One(all, func(w io.Writer) error { return writeSyncs(w, all) })
}

func writeSyncs(w io.Writer, all []machines.Synced) error {
	for _, s := range all {
		called := ""
		if s.Mode == "changes" {
			called = "the roll of " + terminal.Machines(s.Called) + " was called, "
		}
		fmt.Fprintf(w, "%s: %s%s read from %s in %s (%s), %s new, %d updated, %d unchanged, %d gone\n", s.Source, called, terminal.Machines(s.Read), s.DC,
			terminal.Span(time.Duration(s.DurationMS)*time.Millisecond), s.Mode, terminal.Machines(s.New), s.Updated, s.Unchanged, s.Gone)
		if s.Why != "" {
			fmt.Fprintf(w, "  all were read: %s\n", terminal.OneLine(s.Why))
		}
		if s.Withheld > 0 {
			fmt.Fprintf(w, "  %s not listed any more and NOT marked as gone: that many look like lost rights; if they are gone indeed, sync with --full\n",
				terminal.Counted(s.Withheld, "machine is", "machines are"))
		}
		if len(s.LeftOut) > 0 {
			fmt.Fprintf(w, "  left out: %s\n", tally(s.LeftOut))
		}
		if s.Unseen != "" {
			fmt.Fprintf(w, "  not seen: %s\n", terminal.OneLine(s.Unseen))
		}
		if len(s.Referrals) > 0 {
			fmt.Fprintf(w, "  %s to other partitions not followed; -o json lists them\n", terminal.Counted(len(s.Referrals), "referral", "referrals"))
		}
		for _, part := range []struct {
			title string
			lines []string
		}{{"remark", s.Remarks}, {"conflict", s.Conflicts}} {
			for i, line := range part.lines {
				if i == 20 {
					fmt.Fprintf(w, "  %s: and %d more; -o json lists all\n", part.title, len(part.lines)-i)
					break
				}
				fmt.Fprintf(w, "  %s: %s\n", part.title, terminal.OneLine(line))
			}
		}
	}
	return nil
}

// tally is "12 disabled, 3 not Windows", the most frequent first.
func tally(counts map[string]int) string {
	words := make([]string, 0, len(counts))
	for word := range counts {
		words = append(words, word)
	}
	slices.SortFunc(words, func(x, y string) int {
		if counts[x] != counts[y] {
			return counts[y] - counts[x]
		}
		return strings.Compare(x, y)
	})
	for i, word := range words {
		words[i] = fmt.Sprintf("%d %s", counts[word], word)
	}
	return strings.Join(words, ", ")
}
