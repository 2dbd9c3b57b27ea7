package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// summaryOf says in plain sentences where the fleet stands: first what was wanted, then what is left, then how it ended.
func summaryOf(r *Report) string {
	all := len(r.Machines)
	if all == 0 {
		return "No machine was in this run." + endingOf(r.Run)
	}
	wanted, done := journal.Fixed, "fixed"
	switch r.Run.Mode {
	case agent.Detect:
		wanted, done = journal.Affected, "affected"
	case agent.Undo:
		wanted, done = journal.Undone, "back as they were"
		if all == 1 {
			done = "back as it was"
		}
	}
	partly := r.partly()
	n := r.Total(Status(wanted)) - partly
	s := []string{fmt.Sprintf("%s of %s %s %s.", number(n), machines(all), isAre(all), done)}
	if partly > 0 {
		s = append(s, fmt.Sprintf("%s %s back but for what cannot be undone.", number(partly), isAre(partly)))
	}
	if failed := r.optional(); failed > 0 {
		s = append(s, fmt.Sprintf("On %s of them an optional step failed.", number(failed)))
	}
	for _, c := range r.Totals {
		if c.Status != Status(wanted) {
			s = append(s, sentence(c, r.Run.Mode))
		}
	}
	return strings.Join(s, " ") + endingOf(r.Run)
}

func sentence(c Count, mode agent.Mode) string {
	n, verb := number(c.Machines), isAre(c.Machines)
	was := "were"
	if c.Machines == 1 {
		was = "was"
	}
	switch c.Status {
	case Status(journal.Fixed):
		return n + " " + verb + " fixed."
	case Status(journal.Undone):
		return n + " " + verb + " back as before."
	case Status(journal.Clean):
		if mode == agent.Undo {
			return n + " had nothing to take back."
		}
		return n + " " + was + " not affected."
	case Status(journal.Affected):
		return n + " " + verb + " still affected."
	case Status(journal.Failed):
		return n + " failed."
	case Status(journal.Unreachable):
		return n + " could not be reached."
	case Status(journal.Unknown):
		return n + " " + verb + " in doubt: the work may have begun there, and no answer came back."
	case Status(journal.Held):
		return n + " " + was + " held back and not touched."
	case Status(journal.Skipped):
		return n + " " + was + " skipped."
	case Running:
		return n + " " + verb + " in progress."
	case Waiting:
		return n + " " + verb + " waiting."
	}
	return n + " " + verb + " " + faceOf(c.Status).word + "."
}

func endingOf(run journal.Run) string {
	reason := ""
	if run.Reason != "" {
		reason = ": " + strings.TrimRight(prose.Short(run.Reason, 0), ". ")
	}
	switch run.Status {
	case journal.RunGated:
		return " A gate stopped the run" + reason + "."
	case journal.RunAuth:
		if strings.HasSuffix(run.Reason, journal.ElseDone) {
			return " The account was not accepted everywhere" + reason + "."
		}
		return " The run stopped because the account was not accepted" + reason + "."
	case journal.RunTimeout:
		return " The run reached its time limit" + reason + "."
	case journal.RunCancelled:
		return " The run was cancelled" + reason + "."
	case journal.RunInterrupted:
		return " The run was interrupted and can be resumed" + reason + "."
	case journal.RunPaused:
		return " The run is paused" + reason + "."
	case journal.RunWaiting:
		return " The run waits for approval" + reason + "."
	case journal.RunRunning:
		return " The run has not ended yet" + reason + "."
	}
	return ""
}

// advice says what to do about a group of machines with one reason, for somebody who has been awake for a long time.
func advice(status Status, class route.Class, reason string, run journal.Run, undoable bool) string {
	switch status {
	case Status(journal.Held):
		if strings.Contains(reason, "sign-ins of ") || strings.Contains(reason, "sign-in of ") {
			return "Nothing was sent to these machines. See that user and password are right. A retry signs in again half an hour after those sign-ins (or as long as the domain counts them); " +
				"the run's own reason says whether a number for --sign-ins lets it go on before that."
		}
		return "Nothing was sent to these machines. When the cause of the stop is understood, retry the run: it takes them up again."
	case Status(journal.Skipped):
		if strings.Contains(reason, journal.HasIt) {
			return "Another run was at work on these machines, so nothing was sent. When it is over (`fleetmend runs list`), retry this one: it takes up what is left."
		}
		return "Left out on purpose, for the reason given. Change the selection or the inventory and plan again if that was not meant."
	case Status(journal.Unknown):
		if class == route.Overflow {
			return "Something on these machines writes without end into what the agent answers (a profile of PowerShell, a policy that traces, a script that is caught in a loop). " +
				"Look at one of them, end what writes, then retry the run: every step looks first whether it is needed. Else start them from a boot medium (`fleetmend media build`)."
		}
		return "Retry the run. Every step looks first whether it is needed, so nothing is done twice."
	}
	switch class {
	case route.Unreachable:
		if strings.HasPrefix(reason, route.OpAuthenticate+": ") {
			return "These machines took the connection, and went silent or hung up at the sign-in. They may be starting or restarting: retry, with --chase if they crash again and again. " +
				"If it stays, look at their WinRM service and at what stands between (a firewall that inspects, a proxy), or start them from a boot medium (`fleetmend media build`)."
		}
		if strings.HasPrefix(reason, route.OpReceive+": ") {
			return "These machines were reached and took the account, and what was sent did not arrive whole, or the answer was lost. Retry the run. If it stays, look at what stands between " +
				"(a firewall that inspects, a proxy) and at the antivirus there, or start them from a boot medium (`fleetmend media build`)."
		}
		text := "Check that the machines are on, on the network, and that their firewall allows WinRM (TCP 5985 or 5986); " +
			"`fleetmend inventory probe` shows what answers. Machines that crash while starting need --chase or a boot medium"
		if run.Incident != "" {
			return text + "; `fleetmend incident status " + run.Incident + "` shows how."
		}
		return text + "."
	case route.Busy:
		return "WinRM was at a limit or still starting. Retry in a few minutes; lower --forks or set a limit per site if it stays."
	case route.Auth:
		return "Check account and password before anything else: every further attempt brings the account closer to a lockout. When it is right, retry: another machine is asked first, as it may be this one alone that rejects it."
	case route.Denied:
		if strings.Contains(reason, route.OtherMachinesTake) {
			return "The account is good, and these machines reject it. On each: `Test-ComputerSecureChannel -Repair` mends the trust with the domain, `w32tm /resync` the clock; " +
				"the right to sign in over the network (SeNetworkLogonRight) comes from group policy. Else start them from a boot medium (`fleetmend media build`)."
		}
		if strings.Contains(reason, route.OwnRejected) {
			return "The passwords that LAPS has for these machines are not theirs any more: they may have been restored from an older image. Reset them there, use a domain account, " +
				"or start the machines from a boot medium (`fleetmend media build`)."
		}
		return "No account that may work on these machines: the one used is valid but no administrator there (for a local account see LocalAccountTokenFilterPolicy), or LAPS gives none (`fleetmend doctor` shows the rights; a domain account works without LAPS)."
	case route.Untrusted:
		return "Give fleetmend the certificate of the CA that issued the machine's certificate, and check that the name in it is the name used."
	case route.Refused:
		if strings.Contains(reason, route.OpReceive+": ") {
			return "These machines were reached and the account was let in, but the agent did not run there: the reason says what is in its way. " +
				"Allow it there (AppLocker, WDAC, antivirus, the version of PowerShell), or start them from a boot medium (`fleetmend media build`)."
		}
		return "Something else answers at this address, or WinRM refuses for good. Check address and port, and the listener on the machine."
	case route.Unknown:
		return "Retry the run. Every step looks first whether it is needed, so nothing is done twice."
	}
	if run.Mode == agent.Undo {
		return "The machine could not be put back completely. `fleetmend runs show " + run.ID + "` tells which step; what was moved is still in its quarantine."
	}
	text := "The machine did the work and reports a failure. `fleetmend runs show " + run.ID + "` tells which step."
	if undoable && run.Status.Final() {
		text += " What was changed can be taken back with undo."
	}
	return text
}

func machines(n int) string {
	if n == 1 {
		return "1 machine"
	}
	return number(n) + " machines"
}

func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// number writes 12345 as 12,345.
func number(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// took writes a duration as people say it: 850 ms, 4.2 s, 3 min 5 s, 2 h 10 min.
func took(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d < time.Second:
		return fmt.Sprintf("%d ms", max(d.Milliseconds(), 1))
	case d < 10*time.Second:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Truncate(100*time.Millisecond).Seconds()), ".0") + " s"
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		if s := d % time.Minute / time.Second; s != 0 {
			return fmt.Sprintf("%d min %d s", d/time.Minute, s)
		}
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	if m := d % time.Hour / time.Minute; m != 0 {
		return fmt.Sprintf("%d h %d min", d/time.Hour, m)
	}
	return fmt.Sprintf("%d h", d/time.Hour)
}

// cut shortens to at most n runes, the last three of them dots where something went.
func cut(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	if n <= 3 {
		return string(runes[:max(n, 0)])
	}
	return strings.TrimRight(string(runes[:n-3]), " ") + "..."
}
