package inventory

import (
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// ownWords is an overlay in which a machine stands where its serial number says.
type ownWords struct{}

func (ownWords) Case(m *Machine) *Case {
	if m.Serial == "" {
		return nil
	}
	words := strings.Split(m.Serial, "/")
	return &Case{Incident: "i", Verdict: words[0], Health: HealthAffected, Because: "seen", Route: words[1], Keys: words[2], Next: words[3]}
}

func TestSelectWithCases(t *testing.T) {
	ctx, s := t.Context(), open(t)
	put(t, s, "csv", record("csv", "1", "name", "A", "serial", "affected/medium/held/medium"), record("csv", "2", "name", "B", "serial", "clean/winrm/none/none"), record("csv", "3", "name", "C"))
	for text, want := range map[string]string{
		`case.next == "medium"`:                        "A",
		`case.route in ["winrm", "medium"]`:            "A B",
		`case.keys != "held" && case.incident == "i"`:  "B",
		`health == "affected"`:                         "A B",
		`health == "unknown"`:                          "C",
		`case.verdict == "clean" || name == "C"`:       "B C",
		`health_reason == "seen" && case.out == ""`:    "A B",
		`case.since < ago("1d") && case.verdict != ""`: "A B",
		"A,C": "A C",
	} {
		sel, err := ParseSelector(text, nil)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		machines, err := s.SelectWith(ctx, sel, ownWords{})
		var names []string
		for _, m := range machines {
			names = append(names, m.Name)
			if (m.Case != nil) != (m.Serial != "") || m.Case != nil && m.Health != HealthAffected {
				t.Errorf("%s: %+v", text, m)
			}
		}
		if err != nil || strings.Join(names, " ") != want {
			t.Errorf("%s: %q, %v, want %q", text, names, err, want)
		}
		var streamed []string
		err = s.Each(ctx, sel, ownWords{}, func(m *Machine) error { streamed = append(streamed, m.Name); return nil })
		if err != nil || strings.Join(streamed, " ") != want {
			t.Errorf("%s streamed: %q, %v", text, streamed, err)
		}
		if health, cases := sel.UsesCases(); health != strings.Contains(text, "health") || cases != strings.Contains(text, "case.") {
			t.Errorf("%s uses health %v, cases %v", text, health, cases)
		}
		if _, err := s.Select(ctx, sel); hint.IsMistake(err) != strings.Contains(text, "case.") {
			t.Errorf("%s without cases: %v", text, err)
		}
	}
	// What was laid over for one caller is not seen by the next.
	if all, err := s.Select(ctx, Selector{}); err != nil || all[0].Case != nil || all[0].Health != HealthUnknown {
		t.Errorf("%+v %v", all, err)
	}
	for text, want := range map[string]string{`case.next == "fixx"`: `did you mean "fix"`, `case.rute == "x"`: `did you mean "case.route"`, `case == "x"`: "", `case.route == "Medium"`: "medium"} {
		if _, err := ParseSelector(text, nil); err == nil || !strings.Contains(err.Error()+strings.Join(hint.Of(err), " "), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestTheFormerOpinionsAreTakenOut(t *testing.T) {
	ctx, s := t.Context(), open(t)
	put(t, s, "csv", record("csv", "1", "name", "A", "fqdn", "a.fleet.test"))
	put(t, s, "incident", record("incident", "1", "name", "A", "health", "affected"), record("incident", "2", "name", "GHOST", "health", "suspect"))
	script, err := migrations.ReadFile("migrations/0005_cases.sql")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.ExecContext(ctx, string(script)); err != nil {
		t.Fatal(err)
	}
	all, err := s.Select(ctx, Selector{})
	if err != nil || len(all) != 1 || all[0].Name != "A" || all[0].Health != HealthUnknown || len(all[0].Sources) != 1 {
		t.Errorf("%+v %v", all, err)
	}
}

func TestSelectKnownGivesBackWhatIsNotOneMachine(t *testing.T) {
	ctx, s := t.Context(), open(t)
	put(t, s, "csv", record("csv", "1", "name", "A", "serial", "x1"), record("csv", "2", "name", "TWIN", "serial", "x2"), record("csv", "3", "name", "TWIN", "serial", "x3"))
	sel, err := ParseSelector("A,TWIN,NOBODY", nil)
	if err != nil {
		t.Fatal(err)
	}
	machines, left, err := s.SelectKnown(ctx, sel, nil)
	if err != nil || len(machines) != 1 || len(left.Unknown) != 1 || left.Unknown[0] != "NOBODY" || len(left.Several) != 1 || left.Several[0] != "TWIN" {
		t.Errorf("%+v %+v %v", machines, left, err)
	}
}
