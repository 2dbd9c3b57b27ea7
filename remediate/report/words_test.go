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

// TestWhatIsProposedAfterARejection: the hour before which the ledger sends nothing is in what is proposed and in its advice, in whichever of
// the reasons it stands, and the password comes first where that was rejected.
func TestWhatIsProposedAfterARejection(t *testing.T) {
	const later = ` or at once with --sign-ins 3`
	asked := "; 1 machine that may have been changed is" + journal.AskedLater
	for name, c := range map[string]struct {
		status       journal.Status
		reason, held string
		next         string
		first, rest  []string // of the advice for who rejected, and for who was held
	}{
		"room for another": {journal.RunAuth, `PC1 rejected CORP\ada`, "", "Try 2 machines again that are not done, when user and password are right: fleetmend runs retry R1",
			[]string{"Check account and password", "When it is right, retry: another machine is asked first"}, []string{"See that user and password are right", "Then retry: another machine"}},
		"no room": {journal.RunAuth, `PC1 rejected CORP\ada: see that the password is right, then go on after 00:58,` + later, "",
			"Try 2 machines again that are not done, when user and password are right, after 00:58: fleetmend runs retry R1",
			[]string{"See that user and password are right", "before 00:58, unless with the number for --sign-ins", "retry after that"}, []string{"before 00:58"}},
		"no room and no number": {journal.RunAuth, `PC1 rejected CORP\ada: see that the password is right, then go on after 00:58`, "",
			"Try 2 machines again that are not done, when user and password are right, after 00:58: fleetmend runs retry R1", []string{"before 00:58; retry after that"}, []string{"before 00:58; retry after that"}},
		"in a domain": {journal.RunAuth, `PC1 rejected CORP\ada: it is not sent there again before 00:58,` + later + ` (domain B)` + journal.ElseDone, "",
			"Try 2 machines again that are not done, after 00:58: fleetmend runs retry R1", []string{"The domain of these machines does not take", "before 00:58"}, []string{"before 00:58"}},
		"said by the held alone": {journal.RunDone, "", `not signed in to: PC1 rejected CORP\ada: it is not sent there again before 00:58,` + later,
			"Try 2 machines again that are not done, after 00:58: fleetmend runs retry R1", []string{"before 00:58"}, []string{"before 00:58"}},
		"interrupted": {journal.RunInterrupted, `PC1, which had taken CORP\ada, rejects it` + asked, "not started: PC1 rejected it",
			"Go on where it stopped, when user and password are right: fleetmend runs resume R1", []string{"Check account", "A retry is for when this run is over"}, []string{"See that user", "A retry is for when"}},
		"interrupted for a time": {journal.RunInterrupted, `two sign-ins of CORP\ada were refused (PC1) and none was accepted since: see that the password is right, then go on after 00:58,` + later + asked, "",
			"Go on where it stopped, when user and password are right, after 00:58: fleetmend runs resume R1", []string{"before 00:58", "A retry is for when"}, []string{"before 00:58"}},
		"interrupted by silence": {journal.RunInterrupted, "PC3 did not answer when it was signed in to: it is signed in to again when another machine has taken the account, after 00:58," + later + asked, "",
			"Go on where it stopped, after 00:58: fleetmend runs resume R1", []string{"before 00:58"}, []string{"before 00:58"}},
		"held for something else": {journal.RunAuth, `PC1 rejected CORP\ada`, "not started: the gate stopped the run",
			"Try 2 machines again that are not done, when user and password are right: fleetmend runs retry R1", []string{"Check account"}, []string{"the cause of the stop"}},
		"interrupted by somebody": {journal.RunInterrupted, "stopped by ada", "not started: stopped", "Go on where it stopped: fleetmend runs resume R1", []string{"Check account"}, []string{"the cause of the stop"}},
	} {
		rejects, held := one("PC1", journal.Unreachable, "authenticate: the machine rejected the account (HTTP 401)"), one("PC2", journal.Held, c.held)
		rejects.Class = route.Auth
		if c.held == "" {
			held.Reason = "not started: " + c.reason
		}
		r := report.Build(journal.Run{ID: "R1", Mode: agent.Fix, Status: c.status, Reason: c.reason}, []journal.Machine{rejects, held}, nil, nil)
		if got := r.Next[0].For + ": " + r.Next[0].Line; got != c.next {
			t.Errorf("%s: proposed is\n%s, not\n%s", name, got, c.next)
		}
		if len(r.Reasons) != 2 {
			t.Fatalf("%s: %+v", name, r.Reasons)
		}
		for i, words := range [][]string{c.first, c.rest} {
			for _, w := range words {
				if !strings.Contains(r.Reasons[i].Advice, w) {
					t.Errorf("%s: %q is not in the advice %q", name, w, r.Reasons[i].Advice)
				}
			}
		}
		if strings.Contains(c.reason+c.held, "00:58") == strings.Contains(r.Reasons[0].Advice, "another machine is asked first") {
			t.Errorf("%s: it is promised what the ledger refuses: %q", name, r.Reasons[0].Advice)
		}
	}
}
