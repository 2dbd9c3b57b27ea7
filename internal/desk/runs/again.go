package runs

import (
	"slices"
	"strconv"
	"strings"

	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/internal/settings"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

// Again is the request that asks the same as a plan did: on the same machines, by the same rules, with nothing said that the settings
// or the defaults say anyway.
func Again(p *plan.Plan, s settings.Run) Request {
	said := cases.SaidOf(p)
	r := Request{Playbook: said.Playbook, Script: said.Script, Arguments: said.Arguments, Command: said.Command, Reboot: said.Reboot, Force: said.Force, AcceptPermanent: said.AcceptPermanent,
		Set: p.Parameters, On: p.Selector, Exclude: p.Exclude, Incident: p.Incident, DryRun: p.Mode == agent.Detect}
	if r.On == stdin || r.Exclude == stdin { // what was piped in is gone
		r.On, r.Exclude = piped(p, r)
	}
	r.Rules = saidOf(p, s)
	return r
}

// stdin is the selector whose names are read from the standard input.
const stdin = "-"

// piped are the selectors of a request, with the names of the plan in the place of those that were piped in; more than can be typed are to be
// piped in again.
func piped(p *plan.Plan, r Request) (on, exclude string) {
	const most = 200
	var names, without []string
	for _, w := range p.Waves {
		for _, e := range w.Entries {
			names = append(names, e.Name)
		}
	}
	for _, s := range p.Skipped {
		if s.Reason == excludedReason {
			without = append(without, s.Name)
		}
	}
	on, exclude = r.On, r.Exclude
	if on == stdin && len(names) <= most {
		on = strings.Join(names, ",")
	}
	if exclude == stdin && len(without) <= most {
		exclude = strings.Join(without, ",")
	}
	return on, exclude
}

// carries are the flags that a proposed command takes over from the line that was typed. The rest of what a run was told is in its
// plan, from which retry and undo have it, and which [Again] says anew where a run is proposed.
var carries = []struct{ from, flags, onto []string }{
	{nil, []string{"password-file", "foreground"}, []string{"run", "apply", "runs resume", "runs retry", "runs undo", "keys rotate"}},
	// A resumed run has other limits for this life alone: to resume it once more needs them again.
	{[]string{"runs resume"}, []string{"max-fail", "max-unreachable", "max-denied"}, []string{"runs resume"}},
	// And so does what comes after it: what was not accepted still counts.
	{[]string{"runs resume"}, []string{"sign-ins"}, []string{"runs resume", "runs retry", "runs undo"}},
}

// Carried are the flags that commands need which come after a command, `fleetmend runs retry` say; given has the words of one of its
// flags, none where it was not given.
func Carried(command string, given func(flag string) []string) (out []commandline.Carry) {
	for _, c := range carries {
		if c.from != nil && !slices.Contains(c.from, strings.TrimPrefix(command, commandline.Name+" ")) {
			continue
		}
		for _, flag := range c.flags {
			if words := given(flag); words != nil {
				out = append(out, commandline.Carry{Words: words, Onto: c.onto})
			}
		}
	}
	return out
}

// saidOf is what must have been said of the rules of a plan.
func saidOf(p *plan.Plan, s settings.Run) (r Rules) {
	unsaid := Rules{}.with(s)
	usual, err := unsaid.options()
	if err != nil { // the settings are not what they were
		return Rules{}
	}
	o := p.Options
	r.Waves = wavesOf(p, unsaid.Waves)
	r.MaxFail, r.MaxUnreachable = limit(o.MaxFail, usual.MaxFail), limit(o.MaxUnreach, usual.MaxUnreach)
	r.MaxDenied = limit(o.MaxDenied, usual.MaxDenied)
	r.Forks, r.PerSite, r.PerSubnet = other(o.Forks, usual.Forks), other(o.PerSite, usual.PerSite), other(o.PerSubnet, usual.PerSubnet)
	r.Retries = other(o.Retries, usual.Retries)
	if o.SignInsSaid {
		r.SignIns = other(o.SignIns, usual.SignIns)
	}
	r.Soak, r.Backoff, r.MachineTimeout = other(o.Soak, usual.Soak), other(o.Backoff, usual.Backoff), other(o.Timeout, usual.Timeout)
	r.RebootWait, r.RunTimeout = other(o.RebootWait, usual.RebootWait), other(o.RunTimeout, usual.RunTimeout)
	r.Approval, r.Chase = o.Approval, o.Chase
	return r
}

func other[T comparable](have, usual T) *T {
	if have == usual {
		return nil
	}
	return &have
}

func limit(have, usual plan.Limit) string {
	switch {
	case have == usual:
		return ""
	case !have.Set:
		return "none"
	case have.Percent > 0:
		return strconv.FormatFloat(have.Percent, 'f', -1, 64) + "%"
	}
	return strconv.Itoa(have.Count)
}

// wavesOf are the waves of a plan as --waves takes them, or nothing where the usual ones are the same. Looking is one wave, and nobody
// has to have said so.
func wavesOf(p *plan.Plan, usual string) string {
	names := namesOf(p)
	if p.Mode == agent.Detect && slices.Equal(names, []string{whole}) {
		return ""
	}
	if sizes, err := plan.ParseWaves(usual); err == nil {
		if staged, err := plan.Restage(p, sizes); err == nil && slices.Equal(namesOf(staged), names) {
			return ""
		}
	}
	if names[len(names)-1] != whole {
		names = append(names, whole)
	}
	return strings.Join(names, ",")
}

func namesOf(p *plan.Plan) (names []string) {
	for _, w := range p.Waves {
		names = append(names, w.Name)
	}
	return names
}

// whole is the wave of all that are left.
const whole = "100%"
