package windows

import (
	"os"
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
		for _, row := range regexp.MustCompile(`@\('([a-z-]+)', '([A-Z][A-Za-z-]+)'\)`).FindAllSubmatch(block[1], -1) {
			names = append(names, string(row[1]))
			if !regexp.MustCompile(`(?m)^function ` + string(row[2]) + `\(`).Match(raw) {
				t.Errorf("agent.ps1 has no function %s", row[2])
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
		fields = append(fields, regexp.MustCompile(`^[a-z-]+`).FindString(f.Tag.Get("json")))
	}
	if !slices.Equal(fields, playbook.ActionKinds()) {
		t.Errorf("the wire form has %v, the table %v", fields, playbook.ActionKinds())
	}
}
