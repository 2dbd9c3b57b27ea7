package cases_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/casefile"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

var noon = time.Date(2024, 7, 19, 12, 0, 0, 0, time.UTC)

// TestStatusInText: the one screen, whole, with everything on it.
func TestStatusInText(t *testing.T) {
	s := &cases.Status{
		Incident: journal.Incident{ID: "20240719-x", Playbook: "x", Opened: noon.Add(-time.Hour), Start: noon.Add(-8 * time.Hour)}, At: noon, Number: 7,
		Machines: 5, Left: 2, Out: map[string]int{"gone": 1}, Verdicts: map[casefile.Verdict]int{casefile.Affected: 2, casefile.Fixed: 3},
		Sites: []cases.Site{{Name: "LON", Machines: 4, Left: 2, Verdicts: map[casefile.Verdict]int{casefile.Affected: 2, casefile.Fixed: 2}}, {Machines: 1, Verdicts: map[casefile.Verdict]int{casefile.Fixed: 1}}},
		Next:  []cases.Group{{Verb: casefile.Fix, Machines: 2, Why: []cases.Reason{{Text: "they\nanswer", Machines: 2}}, Commands: []string{"fleetmend run x"}}},
		By:    map[string]int{"run": 2, "hand": 1}, Rate: cases.Rate{LastHour: 3, End: noon.Add(40 * time.Minute)},
		Ages: []cases.Age{{What: "directory", At: noon.Add(-2 * time.Hour)}, {What: "probe"}}, Missing: []string{"no password is set up"},
	}
	want := `20240719-x: x, since 2024-07-19 04:00Z, open
5 machines: 2 affected, 3 fixed; 2 left to fix
not counted: 1 gone
fixed by: 2 run, 1 hand; 3 in the last hour, at which rate the last one is done in 40 minutes

    site  left  of  affected  undone  suspect  unknown  fixed  clean
     LON     2   4         2                                2       
  (none)     0   1                                          1       

Next
      2  run the cure
           2: they answer
         fleetmend run x

Missing
  no password is set up

As of 2024-07-19 12:00Z, event 7: directory 2h ago, probe never
`
	plain := func(text string) string { // blanks at the ends of lines are the table's business
		lines := strings.Split(text, "\n")
		for i := range lines {
			lines[i] = strings.Join(strings.Fields(lines[i]), " ")
		}
		return strings.Join(lines, "\n")
	}
	if got := s.Text(100); plain(got) != plain(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMarkedInText(t *testing.T) {
	m := cases.Marked{Incident: "i", Act: 4, Machines: 2, As: "fixed", Unknown: strings.Split(strings.Repeat("X ", 21)+"Y", " "), Several: []string{"TWICE"}}
	got := m.Text(commandline.Program{Same: []string{"--state-dir", "s"}})
	for _, want := range []string{
		"2 machines marked as fixed in i; taken back by: ", "fleetmend --state-dir s incident mark --undo --act 4 --incident i",
		"22 not in the inventory:\n", "  and 2 more; -o json lists all\n", "1 the name of several machines, none of which was marked:\n  TWICE\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
	if m.Unmarked() != 23 {
		t.Errorf("%d names were not marked", m.Unmarked())
	}
}

// TestMachineInText: a field in a line, with where it came from; the runs that had it last.
func TestMachineInText(t *testing.T) {
	f := &cases.File{
		Machine: inventory.Machine{Name: "WS1", Site: "LON\x1b[2J", LastSeen: noon, Provenance: map[string]inventory.Origin{"site": {Source: "ad:corp", SeenAt: noon.Add(-3 * time.Hour)}},
			Probe: &inventory.ProbeResult{At: noon, Open: true}, Conflicts: []string{"two serial numbers"}},
		Visits: []journal.Visit{
			{Run: "r1", Playbook: "x", Mode: "fix", Started: noon.Add(-time.Hour), Machine: journal.Machine{State: journal.Done, Outcome: journal.Failed, Route: "winrm", Reason: "no room"}},
			{Run: "r2", Playbook: "x", Mode: "fix", Started: noon.Add(-time.Minute), Machine: journal.Machine{State: journal.Running, Route: "winrm"}},
		},
	}
	got := f.Text(noon)
	for _, want := range []string{
		"name          WS1\n", "site          LON[2J   (ad:corp, 3h ago)\n", "last_seen     2024-07-19 12:00:00Z\n", "probe         open, no WinRM just now", "conflict      two serial numbers\n",
		"run           r1 x (fix) by winrm, failed, 1h ago: no room\n", "run           r2 x (fix) by winrm, running, 1m ago\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "\nserial") {
		t.Errorf("names a field that nobody knows:\n%s", got)
	}
}
