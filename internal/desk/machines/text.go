package machines

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/prose"
)

// Text says what was read, for people.
func (s Imported) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s read, %s new, %d updated, %d unchanged\n", prose.OneLine(s.Source), prose.Counted(s.Rows, "row", "rows"), prose.Machines(s.New), s.Updated, s.Unchanged)
	fmt.Fprintf(&b, "  read as %s\n", prose.OneLine(s.ReadAs))
	if n := len(s.BadRows); n > 0 {
		fmt.Fprintf(&b, "  %s left out\n", prose.Counted(n, "row was", "rows were"))
	}
	prose.Lines(&b, "left out", s.BadRows)
	if len(s.Other) > 0 {
		var systems []string
		for _, name := range slices.Sorted(maps.Keys(s.Systems)) {
			systems = append(systems, fmt.Sprintf("%d with %s", s.Systems[name], name))
		}
		fmt.Fprintf(&b, "  %s left out, for they run no Windows: %s\n", prose.Counted(len(s.Other), "machine was", "machines were"), strings.Join(systems, ", "))
	}
	prose.Lines(&b, "no Windows", s.Other)
	prose.Lines(&b, "remark", s.Remarks)
	prose.Lines(&b, "conflict", s.Conflicts)
	return b.String()
}

// Text says what was read, for people.
func (s Synced) Text() string {
	var b strings.Builder
	called := ""
	if s.Mode == "changes" {
		called = "the roll of " + prose.Machines(s.Called) + " was called, "
	}
	fmt.Fprintf(&b, "%s: %s%s read from %s in %s (%s), %s new, %d updated, %d unchanged, %d gone\n", s.Source, called, prose.Machines(s.Read), s.DC,
		prose.Span(time.Duration(s.DurationMS)*time.Millisecond), s.Mode, prose.Machines(s.New), s.Updated, s.Unchanged, s.Gone)
	if s.Why != "" {
		fmt.Fprintf(&b, "  all were read: %s\n", prose.OneLine(s.Why))
	}
	if s.Withheld > 0 {
		fmt.Fprintf(&b, "  %s not listed any more and NOT marked as gone: that many look like lost rights; if they are gone indeed, sync with --full\n",
			prose.Counted(s.Withheld, "machine is", "machines are"))
	}
	if len(s.LeftOut) > 0 {
		fmt.Fprintf(&b, "  left out: %s\n", prose.Tally(s.LeftOut))
	}
	if s.Unseen != "" {
		fmt.Fprintf(&b, "  not seen: %s\n", prose.OneLine(s.Unseen))
	}
	if len(s.Referrals) > 0 {
		fmt.Fprintf(&b, "  %s to other partitions not followed; -o json lists them\n", prose.Counted(len(s.Referrals), "referral", "referrals"))
	}
	prose.Lines(&b, "remark", s.Remarks)
	prose.Lines(&b, "conflict", s.Conflicts)
	return b.String()
}
