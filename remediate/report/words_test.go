package report_test

import (
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/report"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// TestARefusalIsAdvisedOnByWhoRefused: a machine whose policy blocks PowerShell is not sought at another address.
func TestARefusalIsAdvisedOnByWhoRefused(t *testing.T) {
	for reason, want := range map[string]string{
		"receive: PowerShell did not start on the machine, so nothing was done; the machine says: This program is blocked by group policy.": "the account was let in",
		"receive: antivirus on the machine blocked the agent, so nothing was done":                                                          "the account was let in",
		"receive: the machine has PowerShell 2.0 is too old, so nothing was done":                                                           "the account was let in",
		"authenticate: a web server answers":                                                                                                "Something else answers",
		"create: the machine does not support the operation (0x80338001)":                                                                   "Something else answers",
	} {
		m := one("PC1", journal.Unreachable, reason)
		m.Class = route.Refused
		r := report.Build(journal.Run{ID: "r", Mode: agent.Fix, Status: journal.RunDone}, []journal.Machine{m}, nil)
		if len(r.Reasons) != 1 || !strings.Contains(r.Reasons[0].Advice, want) {
			t.Errorf("%q: %+v", reason, r.Reasons)
		}
	}
}
