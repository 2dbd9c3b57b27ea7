package inventory

import (
	"strings"
	"testing"
	"time"
)

func TestAbsence(t *testing.T) {
	for want, m := range map[Absence]Machine{"": {Enabled: true}, AbsentGone: {Gone: true, Enabled: true}, AbsentDisabled: {}} {
		if got := m.Absence(); got != want || (want == "") != (got.Words() == "") {
			t.Errorf("%+v: %q, %q", m, got, got.Words())
		}
	}
}

// Of two entries with one FQDN the one seen last stands for the machine; what is absent stands for nothing.
func TestDoubles(t *testing.T) {
	at := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	machines := []Machine{
		{ID: "1", FQDN: "ws1.x.test", Enabled: true, LastSeen: at},
		{ID: "2", FQDN: "WS1.x.test", Enabled: true, LastSeen: at.Add(time.Hour)},
		{ID: "3", FQDN: "ws1.x.test", Enabled: true, LastSeen: at.Add(2 * time.Hour), Gone: true},
		{ID: "4", FQDN: "ws2.x.test", Enabled: true}, {ID: "5", Enabled: true}, {ID: "6", Enabled: true},
		{ID: "7", FQDN: "ws3.x.test", Enabled: true}, {ID: "8", FQDN: "ws3.x.test", Enabled: true},
	}
	for _, id := range []string{"9", "10"} { // found by its short name alone
		machines = append(machines, Machine{ID: id, Name: "WS4", Enabled: true})
	}
	for _, id := range []string{"11", "12"} { // many machines have had an address, and each has a name of its own by which it is known
		machines = append(machines, Machine{ID: id, Name: "WS5", Address: "127.0.9." + id, Enabled: true})
	}
	got := Doubles(machines)
	if len(got) != 3 || !strings.Contains(got["10"], "ws4 a second time: entry 9") || !strings.Contains(got["1"], "entry 2") || !strings.Contains(got["7"], "entry 8") {
		t.Errorf("%v", got)
	}
}
