package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/inventory"
)

// syncFlags are the flags of inventory sync.
type syncFlags struct {
	full bool
	dcs  []string
}

func newInventorySync(a *app) *cobra.Command {
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
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.syncInventory(cmd.Context(), f)
		},
	}
	cmd.Flags().BoolVar(&f.full, "full", false, "read all machines, and mark as gone what is not among them, however much that is")
	cmd.Flags().StringSliceVar(&f.dcs, "dc", nil, "domain controllers to ask: dc1.corp.example, or dc1.corp.example=10.0.0.5 without DNS")
	exits(cmd, exitAuth)
	return cmd
}

// syncSummary is what one source gave.
type syncSummary struct {
	Source     string         `json:"source"`
	DC         string         `json:"dc"`
	Mode       string         `json:"mode"` // full, or changes
	Why        string         `json:"why,omitempty"`
	Unseen     string         `json:"unseen,omitempty"` // what a reading of changes cannot see
	Called     int            `json:"called"`           // machines that the directory lists
	Read       int            `json:"read"`             // of those, read
	New        int            `json:"new"`
	Updated    int            `json:"updated"`
	Unchanged  int            `json:"unchanged"`
	Gone       int            `json:"gone"`
	Withheld   int            `json:"withheld,omitempty"` // not listed any more, and too many to be marked as gone
	LeftOut    map[string]int `json:"left_out,omitempty"` // reason -> objects that are no machine to repair
	DurationMS int64          `json:"duration_ms"`
	Referrals  []string       `json:"referrals,omitempty"`
	Remarks    []string       `json:"remarks"`
	Conflicts  []string       `json:"conflicts"`
}

func (s *syncSummary) take(r inventory.ImportReport) {
	s.New += r.NewMachines
	s.Updated += r.UpdatedMachines()
	s.Unchanged += r.Unchanged
	s.Gone += r.Gone
	s.Withheld += r.Withheld
	s.Remarks = append(s.Remarks, r.Problems...)
	s.Conflicts = append(s.Conflicts, r.Conflicts...)
}

func writeSyncs(w io.Writer, all []syncSummary) error {
	for _, s := range all {
		called := ""
		if s.Mode == "changes" {
			called = "the roll of " + machinesText(s.Called) + " was called, "
		}
		fmt.Fprintf(w, "%s: %s%s read from %s in %s (%s), %s new, %d updated, %d unchanged, %d gone\n", s.Source, called, machinesText(s.Read), s.DC,
			span(time.Duration(s.DurationMS)*time.Millisecond), s.Mode, machinesText(s.New), s.Updated, s.Unchanged, s.Gone)
		if s.Why != "" {
			fmt.Fprintf(w, "  all were read: %s\n", oneLine(s.Why))
		}
		if s.Withheld > 0 {
			fmt.Fprintf(w, "  %s not listed any more and NOT marked as gone: that many look like lost rights; if they are gone indeed, sync with --full\n",
				counted(s.Withheld, "machine is", "machines are"))
		}
		if len(s.LeftOut) > 0 {
			fmt.Fprintf(w, "  left out: %s\n", tally(s.LeftOut))
		}
		if s.Unseen != "" {
			fmt.Fprintf(w, "  not seen: %s\n", oneLine(s.Unseen))
		}
		if len(s.Referrals) > 0 {
			fmt.Fprintf(w, "  %s to other partitions not followed; -o json lists them\n", counted(len(s.Referrals), "referral", "referrals"))
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
				fmt.Fprintf(w, "  %s: %s\n", part.title, oneLine(line))
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

// stillUsable says what is left to work with when a source cannot be read.
func (a *app) stillUsable(ctx context.Context, prefix string) {
	store, err := a.openStore(ctx)
	if err != nil {
		return
	}
	sources, err := store.Sources(ctx)
	if err != nil {
		return
	}
	for _, s := range sources {
		if strings.HasPrefix(s.Source, prefix) && s.Records > 0 {
			a.say("%s was read %s: its %s stay usable", s.Source, ago(s.ReadAt, time.Now()), machinesText(s.Records-s.Gone))
		}
	}
}
