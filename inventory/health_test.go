package inventory

import (
	"strings"
	"testing"
	"time"
)

func TestAssessHealth(t *testing.T) {
	start := time.Date(2024, 7, 19, 4, 9, 0, 0, time.UTC)
	incident := Incident{start, start.Add(78 * time.Minute)}
	day := 24 * time.Hour
	silent := &ProbeResult{At: start.Add(6 * time.Hour)}
	answers := &ProbeResult{At: start.Add(6 * time.Hour), Open: true, WinRM: true}
	for _, c := range []struct {
		name   string
		m      Machine
		last   *LastRun
		want   Health
		reason string
	}{
		{"boot loop, logon noted 10 days before", Machine{LastSeen: start.Add(-10 * day), Probe: silent}, nil, HealthSuspect, "silent now"},
		{"boot loop, on during the incident", Machine{LastSeen: start.Add(20 * time.Minute), Probe: silent}, nil, HealthSuspect, "during the incident"},
		{"on during the incident, not probed", Machine{LastSeen: start.Add(20 * time.Minute)}, nil, HealthSuspect, "not probed"},
		{"retired", Machine{LastSeen: start.Add(-100 * day), Probe: silent}, nil, HealthUnknown, "long before"},
		{"edge of retired", Machine{LastSeen: start.Add(-45 * day), Probe: silent}, nil, HealthSuspect, "silent now"},
		{"never seen", Machine{Probe: silent}, nil, HealthUnknown, "never seen"},
		{"answers", Machine{LastSeen: start.Add(-day), Probe: answers}, nil, HealthUnknown, "not examined"},
		{"probe from before", Machine{LastSeen: start.Add(-day), Probe: &ProbeResult{At: start.Add(-day)}}, nil, HealthUnknown, "not probed since"},
		{"found affected", Machine{Probe: answers}, &LastRun{"affected", start.Add(time.Hour)}, HealthAffected, "affected"},
		{"fix failed", Machine{Probe: answers}, &LastRun{"failed", start.Add(time.Hour)}, HealthAffected, "could not fix"},
		{"fixed", Machine{Probe: answers}, &LastRun{"fixed", start.Add(time.Hour)}, HealthHealthy, "fixed"},
		{"fixed, then silent", Machine{Probe: silent}, &LastRun{"fixed", start.Add(time.Hour)}, HealthSuspect, "does not answer since"},
		{"clean long ago", Machine{LastSeen: start.Add(-day), Probe: silent}, &LastRun{"clean", start.Add(-day)}, HealthSuspect, "silent now"},
		{"unreachable in the run", Machine{LastSeen: start.Add(-day), Probe: silent}, &LastRun{"unreachable", start.Add(time.Hour)}, HealthSuspect, "silent now"},
		{"gone", Machine{Gone: true, LastSeen: start.Add(-day), Probe: silent}, nil, HealthUnknown, "no source"},
	} {
		c.m.Enabled = true
		if got, reason := AssessHealth(&c.m, incident, c.last); got != c.want || !strings.Contains(reason, c.reason) {
			t.Errorf("%s: %s, %q", c.name, got, reason)
		}
	}
	if got, reason := AssessHealth(&Machine{LastSeen: start, Probe: silent}, Incident{}, nil); got != HealthUnknown {
		t.Error(got, reason)
	}
	if got, _ := AssessHealth(&Machine{LastSeen: start, Probe: silent, Enabled: true}, Incident{}, nil); got != HealthSuspect {
		t.Error("without an incident:", got)
	}
}
