package report

import (
	"fmt"
	"slices"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/journal"
)

// One trouble is one group, with the range of what differs from machine to machine; codes, versions and names are not taken for amounts.
func TestOneReasonIsOneGroup(t *testing.T) {
	for _, test := range []struct{ reasons, want []string }{
		{[]string{"no answer within 10s", "no answer within 2s", "no answer within 1m30s", "no answer within 950ms"}, []string{"no answer within 950ms to 1m30s (4)"}},
		{[]string{"gave up after 20s: no answer within 2s", "gave up after 20s: no answer within 10s"}, []string{"gave up after 20s: no answer within 2s to 10s (2)"}},
		{[]string{"only 9 MiB are free", "only 1.5 GiB are free", "only 800 KiB are free"}, []string{"only 800 KiB to 1.5 GiB are free (3)"}},
		{[]string{"went at 2024-07-19 04:12:33", "went at 2024-07-19 04:09:01"}, []string{"went at 2024-07-19 04:09:01 to 2024-07-19 04:12:33 (2)"}},
		{[]string{"failed after 12 attempts", "failed after 3 attempts"}, []string{"failed after 3 attempts to 12 attempts (2)"}},
		{[]string{"access denied (fault 5)", "access denied (fault 6)"}, []string{"access denied (fault 5) (1)", "access denied (fault 6) (1)"}},
		{[]string{"PowerShell 5.1 is there", "PowerShell 2.0 is there"}, []string{"PowerShell 2.0 is there (1)", "PowerShell 5.1 is there (1)"}},
		{[]string{"fault 0x80338012", "fault 0x80338013"}, []string{"fault 0x80338012 (1)", "fault 0x80338013 (1)"}},
		{[]string{"cannot move C-00000291s.sys", "cannot move C-00000292s.sys"}, []string{"cannot move C-00000291s.sys (1)", "cannot move C-00000292s.sys (1)"}},
	} {
		var all []Machine
		for i, reason := range test.reasons {
			all = append(all, Machine{Name: fmt.Sprint("PC", i), Status: Status(journal.Failed), Reason: reason})
		}
		var got []string
		for _, r := range reasonsOf(all, journal.Run{}, true) {
			got = append(got, fmt.Sprintf("%s (%d)", r.Text, len(r.Machines)))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%q\nwant %q", got, test.want)
		}
	}
}
