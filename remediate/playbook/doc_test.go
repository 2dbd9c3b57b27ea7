package playbook

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestDocumentation(t *testing.T) {
	data, err := os.ReadFile("../../docs/playbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(data)
	examples := 0
	for i, part := range strings.Split(doc, "```yaml\n")[1:] {
		text, _, _ := strings.Cut(part, "```")
		s, err := ParseUnnamed(fmt.Sprintf("example-%d", i+1), []byte(text))
		if err != nil {
			t.Errorf("%v\n%s", err, text)
			continue
		}
		examples++
		whole := strings.HasPrefix(text, "playbook:")
		for _, f := range Lint(s) {
			fragment := slices.Contains([]string{"no-detect", "no-fix", "no-verify"}, f.Rule)
			if f.Severity == SeverityError && !fragment || whole {
				t.Errorf("%s\n%s", f, text)
			}
		}
	}
	if examples < 15 {
		t.Errorf("only %d examples", examples)
	}

	keys := slices.Concat(playbookKeys, paramKeys, osKeys, windowKeys, versionKeys, ConditionKinds(), ActionKinds(), []string{"optional"}, reboots, serviceStarts, states, shells, registryTypes)
	for _, kind := range ConditionKinds() {
		keys = append(keys, conditionKind(kind).keys...)
	}
	for _, kind := range ActionKinds() {
		keys = append(keys, actionKind(kind).keys...)
	}
	words := strings.FieldsFunc(doc, func(r rune) bool { return strings.ContainsRune(" \n`:,;.(){}[]|'", r) })
	for _, key := range keys {
		if !slices.Contains(words, key) {
			t.Errorf("docs/playbooks.md does not mention %q", key)
		}
	}
	for _, r := range rules {
		if !strings.Contains(doc, "| `"+r.name+"` |") {
			t.Errorf("docs/playbooks.md does not mention the rule %s", r.name)
		}
	}
}
