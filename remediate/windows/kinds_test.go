package windows

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// A kind of step that is missing in one table would end in "unknown action" on the machine: every kind is in every table, in
// the same order.
func TestEveryKindIsInEveryTable(t *testing.T) {
	raw, err := os.ReadFile("../agent/agent.ps1")
	if err != nil {
		t.Fatal(err)
	}
	inAgent := func(table string) (names []string) {
		block := regexp.MustCompile(`(?s)\$script:` + table + ` = @\(\n(.*?)\n\)`).FindSubmatch(raw)
		if block == nil {
			t.Fatalf("agent.ps1 has no table %s", table)
		}
		for _, row := range regexp.MustCompile(`@\('([a-z-]+)'((?:, '[A-Z][A-Za-z-]+')+)\)`).FindAllSubmatch(block[1], -1) {
			names = append(names, string(row[1]))
			for _, function := range regexp.MustCompile(`[A-Z][A-Za-z-]+`).FindAll(row[2], -1) {
				if !regexp.MustCompile(`(?m)^function ` + string(function) + `\(`).Match(raw) {
					t.Errorf("agent.ps1 has no function %s", function)
				}
			}
		}
		return names
	}
	var steps, tests, changes []string
	for _, k := range stepKinds {
		steps = append(steps, k.name)
	}
	for _, k := range testKinds {
		tests = append(tests, k.name)
	}
	for _, k := range changeKinds {
		changes = append(changes, k.name)
	}
	for table, names := range map[string][2][]string{
		"StepKinds": {playbook.ActionKinds(), steps}, "TestKinds": {playbook.ConditionKinds(), tests}, "ChangeKinds": {changes, changes},
	} {
		if !slices.Equal(names[0], names[1]) || !slices.Equal(names[0], inAgent(table)) {
			t.Errorf("%s: %v, %v, %v", table, names[0], names[1], inAgent(table))
		}
	}
	var fields []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[playbook.Action]()) {
		if f.Type.Kind() != reflect.Pointer {
			continue // what every kind may have
		}
		fields = append(fields, regexp.MustCompile(`^[a-z-]+`).FindString(f.Tag.Get("json")))
	}
	if !slices.Equal(fields, playbook.ActionKinds()) {
		t.Errorf("the wire form has %v, the table %v", fields, playbook.ActionKinds())
	}
}

// What a result and a message call each step and each condition: agent.ps1 says the same.
func TestTheWordsOfEachKind(t *testing.T) {
	for want, a := range map[string]playbook.Action{
		"quarantine a": {Quarantine: &playbook.Quarantine{File: "a"}}, "put b": {Put: &playbook.Put{File: "b"}}, "registry K N": {Registry: &playbook.RegistryChange{Key: "K", Name: "N"}},
		"registry-key K": {RegistryKey: &playbook.RegistryKey{Key: "K"}},
		"service S":      {Service: &playbook.StartChange{Name: "S"}}, "driver D": {Driver: &playbook.StartChange{Name: "D"}}, "bcd set": {BCD: &playbook.BCDChange{Set: "set"}},
		"bcd gone": {BCD: &playbook.BCDChange{Delete: "gone"}}, "script cmd": {Script: &playbook.Script{Shell: "cmd"}},
	} {
		i := slices.IndexFunc(stepKinds, func(k stepKind) bool { return k.name == a.Kind() })
		if got := stepKinds[i].name + " " + stepKinds[i].target(a); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for want, c := range map[string]playbook.Condition{
		"file a": {File: "a"}, "no-file b": {NoFile: "b"}, "registry K N": {Registry: "K", Name: "N"}, "registry-key K": {RegistryKey: "K"}, "service S": {Service: "S"}, "driver D": {Driver: "D"}, "bcd e": {BCD: "e"},
		"os": {OS: &playbook.OSTest{}}, "script": {Script: &playbook.Script{}},
	} {
		i := slices.IndexFunc(testKinds, func(k testKind) bool { return k.name == c.Kind() })
		if got := testKinds[i].words(c); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestBuildNumbers(t *testing.T) {
	r := bare(t, NewMemory(NewBase(22631)).Parts())
	for _, c := range []struct {
		test playbook.OSTest
		want bool
	}{
		{playbook.OSTest{}, true}, {playbook.OSTest{MinBuild: 22631}, true}, {playbook.OSTest{MinBuild: 22632}, false}, {playbook.OSTest{MaxBuild: 22631}, true}, {playbook.OSTest{MaxBuild: 22630}, false},
		{playbook.OSTest{MinBuild: 22631, MinRevision: 1}, false}, {playbook.OSTest{MinBuild: 22631, MaxBuild: 22631}, true}, {playbook.OSTest{MinBuild: 1, MaxBuild: 1}, false},
	} {
		if got, err := r.osHolds(c.test); got != c.want || err != nil {
			t.Errorf("%+v: %v %v", c.test, got, err)
		}
	}
	r.request.Root = `X:\`
	if got, err := r.osHolds(playbook.OSTest{}); got || err == nil {
		t.Errorf("offline: %v %v", got, err)
	}
}

// Every kind has cases, which both interpreters are held to: each action changes something in one and is taken back in one, each condition
// holds in one and does not in another.
func TestEveryKindHasCases(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(caseFolder, "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	seen := map[string]bool{}
	for _, path := range paths {
		c := loadCase(t, path)
		outcomes := map[string]bool{}
		for _, s := range c.Steps {
			outcomes[fmt.Sprint(s.Expect["outcome"])] = true
		}
		for _, a := range c.Playbook.Fix {
			seen["action "+a.Kind()+" fixed"] = seen["action "+a.Kind()+" fixed"] || outcomes["fixed"]
			seen["action "+a.Kind()+" undone"] = seen["action "+a.Kind()+" undone"] || outcomes["undone"]
		}
		if len(c.Playbook.Detect) == 1 {
			kind := c.Playbook.Detect[0].Kind()
			seen["condition "+kind+" holds"] = seen["condition "+kind+" holds"] || outcomes["affected"] || outcomes["fixed"]
			seen["condition "+kind+" does not hold"] = seen["condition "+kind+" does not hold"] || outcomes["clean"]
		}
	}
	for _, k := range stepKinds {
		for _, how := range []string{" fixed", " undone"} {
			if !seen["action "+k.name+how] {
				t.Errorf("no case in which the action %s is%s", k.name, how)
			}
		}
	}
	for _, k := range testKinds {
		for _, how := range []string{" holds", " does not hold"} {
			if !seen["condition "+k.name+how] {
				t.Errorf("no case in which the condition %s%s", k.name, how)
			}
		}
	}
}
