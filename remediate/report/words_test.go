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
		r := report.Build(journal.Run{ID: "r", Mode: agent.Fix, Status: journal.RunDone}, []journal.Machine{m}, nil, nil)
		if len(r.Reasons) != 1 || !strings.Contains(r.Reasons[0].Advice, want) {
			t.Errorf("%q: %+v", reason, r.Reasons)
		}
	}
}

// TestASignInThatFailedIsAdvisedOn: who is told to wait is told for how long, and a machine that took the connection is not said to be off.
func TestASignInThatFailedIsAdvisedOn(t *testing.T) {
	silent := one("PC1", journal.Unreachable, "authenticate: read tcp 10.0.0.1:5985: connection reset by peer")
	silent.Class = route.Unreachable
	off := one("PC2", journal.Unreachable, "connect: PC2:5985 did not answer within 10s")
	off.Class = route.Unreachable
	flooded := one("PC5", journal.Unknown, "receive: the output is larger than the limit of 4.0 MiB: 4.1 came")
	flooded.Class = route.Overflow
	halved := one("PC6", journal.Unreachable, "receive: the request reached PowerShell incomplete (exit code 91), so nothing was done")
	halved.Class = route.Unreachable
	stale := one("PC7", journal.Unreachable, "authenticate: "+route.OwnRejected)
	stale.Class = route.Denied
	for want, m := range map[string]journal.Machine{
		"end what writes":             flooded,
		"did not arrive whole":        halved,
		"Reset them there":            stale,
		"at the sign-in":              silent,
		"Check that the machines are": off,
		"half an hour after":          one("PC3", journal.Held, `not started: two sign-ins of CORP\admin had no answer (PC1, PC2)`),
		"the cause of the stop":       one("PC4", journal.Held, "not started: the gate stopped the run"),
	} {
		r := report.Build(journal.Run{ID: "r", Mode: agent.Fix, Status: journal.RunAuth}, []journal.Machine{m}, nil, nil)
		if len(r.Reasons) != 1 || !strings.Contains(r.Reasons[0].Advice, want) {
			t.Errorf("%s: %+v", want, r.Reasons)
		}
	}
}
