package machines_test

import (
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/desk/machines"
)

// TestReadInText: what was withheld, left out and not seen is said, and nothing where there is none of it.
func TestReadInText(t *testing.T) {
	full := machines.Synced{Source: "ad:corp", DC: "dc1", Mode: "changes", Called: 9, Read: 2, New: 1, Gone: 1, Withheld: 3, Why: "a week is over", Unseen: "groups",
		LeftOut: map[string]int{"disabled": 2, "not Windows": 5}, Referrals: []string{"x"}, Remarks: []string{"odd"}, Conflicts: []string{"twice"}, DurationMS: 1500}
	want := `ad:corp: the roll of 9 machines was called, 2 machines read from dc1 in 1.5 s (changes), 1 machine new, 0 updated, 0 unchanged, 1 gone
  all were read: a week is over
  3 machines are not listed any more and NOT marked as gone: that many look like lost rights; if they are gone indeed, sync with --full
  left out: 5 not Windows, 2 disabled
  not seen: groups
  1 referral to other partitions not followed; -o json lists them
  remark: odd
  conflict: twice
`
	if got := full.Text(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := (machines.Synced{Source: "s", Mode: "full"}).Text(); strings.Count(got, "\n") != 1 || strings.Contains(got, "roll") {
		t.Errorf("says more than there is:\n%s", got)
	}
	read := machines.Imported{Source: "csv:m.csv", ReadAs: "UTF-8", Rows: 4, New: 1, BadRows: []string{"m.csv:3: no name"}, Other: []string{"m.csv: MAC1"}, Systems: map[string]int{"macOS": 1}}
	want = `csv:m.csv: 4 rows read, 1 machine new, 0 updated, 0 unchanged
  read as UTF-8
  1 row was left out
  left out: m.csv:3: no name
  1 machine was left out, for they run no Windows: 1 with macOS
  no Windows: m.csv: MAC1
`
	if got := read.Text(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
