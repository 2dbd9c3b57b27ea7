package inventory

import (
	"fmt"
	"time"
)

// Incident is the time in which the harm was done; the zero value is no incident. End may be zero: it goes on.
type Incident struct{ Start, End time.Time }

// LastRun is how the newest run that reached the machine ended, in the words of a run's outcomes.
type LastRun struct {
	Outcome string
	At      time.Time
}

// retiredAfter is how long before the incident a machine must have been silent to count as retired. AD notes a logon
// only every 9 to 14 days and a machine changes its password every 30, so less says nothing.
const retiredAfter = 45 * 24 * time.Hour

// AssessHealth gives an opinion about a machine and the reason for it, from what a run found, whether it answers now,
// and when it was last alive. It changes nothing. A machine that was in use when the incident began and is silent now
// is suspect, however the sources look: that is what a boot loop looks like from outside. That a machine answers does
// not make it healthy; only an examination does.
func AssessHealth(m *Machine, incident Incident, last *LastRun) (Health, string) {
	if last != nil && !last.At.Before(incident.Start) {
		silent := m.Probe != nil && !m.Probe.Open && m.Probe.At.After(last.At)
		at := stamp(last.At)
		switch last.Outcome {
		case "fixed", "clean":
			if silent {
				return HealthSuspect, fmt.Sprintf("found %s %s, but does not answer since %s", last.Outcome, at, stamp(m.Probe.At))
			}
			return HealthHealthy, fmt.Sprintf("a run found it %s %s", last.Outcome, at)
		case "affected":
			return HealthAffected, "a run found it affected " + at
		case "failed":
			return HealthAffected, "a run could not fix it " + at
		case "undone":
			return HealthSuspect, "its fix was undone " + at
		}
	}
	switch {
	case m.Gone:
		return HealthUnknown, "no source lists it any more"
	case !m.Enabled:
		return HealthUnknown, "its account is disabled"
	case m.Probe != nil && !m.Probe.At.Before(incident.Start):
		return assessProbed(m, incident)
	case incident.Start.IsZero():
		return HealthUnknown, "not probed"
	case m.LastSeen.IsZero():
		return HealthUnknown, "never seen, and not probed since the incident"
	case incident.holds(m.LastSeen):
		return HealthSuspect, fmt.Sprintf("was on during the incident (%s), and not probed since", stamp(m.LastSeen))
	}
	return HealthUnknown, "not probed since the incident"
}

func assessProbed(m *Machine, incident Incident) (Health, string) {
	probed := stamp(m.Probe.At)
	if m.Probe.Open {
		return HealthUnknown, fmt.Sprintf("answers (%s), but was not examined yet", probed)
	}
	began := incident.Start
	if began.IsZero() {
		began = m.Probe.At
	}
	switch {
	case m.LastSeen.IsZero():
		return HealthUnknown, fmt.Sprintf("silent (%s), and never seen before", probed)
	case m.LastSeen.Before(began.Add(-retiredAfter)):
		return HealthUnknown, fmt.Sprintf("silent (%s), and long before the incident: last seen %s", probed, stamp(m.LastSeen))
	case incident.holds(m.LastSeen):
		return HealthSuspect, fmt.Sprintf("was on during the incident (%s) and is silent now (%s)", stamp(m.LastSeen), probed)
	}
	return HealthSuspect, fmt.Sprintf("was in use (last seen %s) and is silent now (%s)", stamp(m.LastSeen), probed)
}

// holds says whether t lies in the incident.
func (i Incident) holds(t time.Time) bool {
	return !i.Start.IsZero() && !t.Before(i.Start) && (i.End.IsZero() || !t.After(i.End))
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" }
