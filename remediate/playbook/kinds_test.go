package playbook

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

// examples are the playbooks of docs/playbooks.md.
func examples(t *testing.T) (all []*Source) {
	t.Helper()
	data, err := os.ReadFile("../../docs/playbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range strings.Split(string(data), "```yaml\n")[1:] {
		text, _, _ := strings.Cut(part, "```")
		if !strings.HasPrefix(text, "playbook:") {
			text = "playbook: example\n" + text
		}
		s, err := Parse(fmt.Sprintf("example-%d", i+1), []byte(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		all = append(all, s)
	}
	return all
}

// Every kind has all of its row, an example in the documentation, a sentence of its own, and a YAML form that is read back; and what is of
// one kind is of no other. remediate/windows walks the same kinds through the interpreters and the cases.
func TestEveryKindIsWhole(t *testing.T) {
	actions, conditions := map[string]Action{}, map[string]Condition{}
	for _, s := range examples(t) {
		sameAfterRender(t, s)
		for _, a := range s.Playbook.Fix {
			actions[a.Kind()] = a
		}
		for _, c := range append(s.Playbook.Detect, s.Playbook.Verify...) {
			conditions[c.Kind()] = c
		}
	}
	for _, k := range stepKinds {
		wholeRow(t, k.name, k)
		a, ok := actions[k.name]
		if !ok {
			t.Errorf("the action %s has no example in docs/playbooks.md", k.name)
			continue
		}
		said(t, k.name, k.describe(a), true)
		for _, other := range stepKinds {
			if other.is(a) != (other.name == k.name) {
				t.Errorf("the example of %s is taken for %s", k.name, other.name)
			}
		}
	}
	for _, k := range testKinds {
		wholeRow(t, k.name, k)
		c, ok := conditions[k.name]
		if !ok {
			t.Errorf("the condition %s has no example in docs/playbooks.md", k.name)
			continue
		}
		said(t, k.name, k.describe(c), false)
		for _, other := range testKinds {
			if other.is(c) != (other.name == k.name) {
				t.Errorf("the example of %s is taken for %s", k.name, other.name)
			}
		}
	}
}

// wholeRow: nothing of a row is missing, apart from texts, which may be empty.
func wholeRow(t *testing.T, name string, row any) {
	t.Helper()
	for v, i := reflect.ValueOf(row), 0; i < v.NumField(); i++ {
		if v.Field(i).Kind() != reflect.String && v.Field(i).IsNil() {
			t.Errorf("the row of %s has no %s", name, v.Type().Field(i).Name)
		}
	}
}

func said(t *testing.T, name, text string, sentence bool) {
	t.Helper()
	if text == "" || sentence && !strings.HasSuffix(text, ".") || strings.Contains(text, "<nil>") || strings.Contains(text, "%!") {
		t.Errorf("%s is described as %q", name, text)
	}
}
