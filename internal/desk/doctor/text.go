package doctor

import (
	"fmt"
	"strings"

	"github.com/fleetmend/fleetmend/internal/prose"
)

// Text is a line for each finding, with what to do below it, and a verdict over all.
func (r Report) Text() string {
	width := 14
	for _, f := range r.Findings {
		width = max(width, len(f.Check)+1)
	}
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s%s%s\n", prose.Pad(string(f.Status), 6), prose.Pad(f.Check, width), prose.OneLine(f.Detail))
		if f.Do != "" {
			fmt.Fprintf(&b, "%sdo: %s\n", prose.Pad("", 6+width), prose.OneLine(f.Do))
		}
	}
	verdict := "All is well."
	if failed, warned := r.Count(Fail), r.Count(Warn); failed+warned > 0 {
		verdict = fmt.Sprintf("%s, %s.", prose.Counted(failed, "check failed", "checks failed"), prose.Counted(warned, "warning", "warnings"))
	}
	return b.String() + "\n" + verdict + "\n"
}
