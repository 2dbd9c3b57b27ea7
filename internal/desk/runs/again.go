package runs

import (
	"slices"
	"strconv"
	"strings"

	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/internal/settings"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

// Again is the request that asks the same as a plan did: on the same machines, by the same rules, with nothing said that the settings
// or the defaults say anyway.
func Again(p *plan.Plan, s settings.Run) Request {
	r := Request{Playbook: p.Playbook.Name, Set: p.Parameters, On: p.Selector, Exclude: p.Exclude, Incident: p.Incident, DryRun: p.Mode == agent.Detect}
	if p.PlaybookFile != "" {
		r.Playbook = p.PlaybookFile
	}
	r.Reboot, r.Force = cases.Said(p)
	r.AcceptPermanent = p.Mode == agent.Fix && len(p.Playbook.Permanent()) > 0
	r.Rules = saidOf(p, s)
	return r
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
