package windows

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
)

// The fields of a result, and of its steps, that a case may speak of.
var (
	resultFields = strings.Fields("run outcome changed message repeated reboot uptime ps language record clipped kept note")
	doneFields   = strings.Fields("action target changed note failed")
)

func compareResult(t reporter, label string, s CaseStep, result agent.Result) {
	raw, _ := json.Marshal(result)
	var seen map[string]any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber() // as in the case
	_ = decoder.Decode(&seen)
	compareFields(t, label, resultFields, seen, s.Expect, result.Message)
	if s.Steps == nil {
		return
	}
	steps, _ := seen["steps"].([]any)
	if len(steps) != len(*s.Steps) {
		t.Errorf("%s: the result has %d steps, not %d", label, len(steps), len(*s.Steps))
		return
	}
	for i, want := range *s.Steps {
		step, _ := steps[i].(map[string]any)
		compareFields(t, fmt.Sprintf("%s: step %d of the result", label, i+1), doneFields, step, want, "")
	}
}

func compareFields(t reporter, label string, known []string, seen, want map[string]any, message string) {
	for name, value := range want {
		switch {
		case !slices.Contains(known, name):
			t.Errorf("%s: unknown field '%s'", label, name)
		case seen[name] == nil && (value == "" || value == json.Number("0") || value == false): // left out: it says nothing
		case !reflect.DeepEqual(seen[name], value):
			t.Errorf("%s: %s is %v, not %v (%s)", label, name, seen[name], value, message)
		}
	}
}

// ours reports whether a file is what fleetmend keeps on the machine whose Windows is below root.
func ours(root, path string) bool {
	if root == "" {
		root = "C:"
	}
	return strings.HasPrefix(fold(path), fold(strings.TrimRight(root, `\`)+`\ProgramData\fleetmend\`))
}

func compareMachine(t reporter, label, root string, s CaseStep, m *Memory, called []string) {
	if s.Files != nil {
		var want, seen []string
		for _, f := range *s.Files {
			want = append(want, fmt.Sprintf("%s %s %s", f.Path, strings.ToUpper(f.Hex), f.Modified.UTC().Format(time.RFC3339)))
		}
		for _, f := range m.Snapshot() {
			if !ours(root, f.Path) {
				seen = append(seen, fmt.Sprintf("%s %s %s", f.Path, upperHex(f.Content), f.Modified.Format(time.RFC3339)))
			}
		}
		slices.Sort(want)
		slices.Sort(seen)
		if !slices.Equal(want, seen) {
			t.Errorf("%s: files are\n%s\nnot\n%s", label, strings.Join(seen, "\n"), strings.Join(want, "\n"))
		}
	}
	if s.Agents != nil {
		var seen []string
		files, _ := m.List(`C:\ProgramData\fleetmend\agent`)
		for _, f := range files {
			seen = append(seen, f.Name)
		}
		if want := slices.Sorted(slices.Values(*s.Agents)); !slices.Equal(want, seen) {
			t.Errorf("%s: agents kept are\n%s\nnot\n%s", label, strings.Join(seen, "\n"), strings.Join(want, "\n"))
		}
	}
	if s.Registry != nil {
		if seen, want := registryLines(m), wantedRegistry(t, *s.Registry); !slices.Equal(seen, want) {
			t.Errorf("%s: registry is\n%s\nnot\n%s", label, strings.Join(seen, "\n"), strings.Join(want, "\n"))
		}
	}
	for name, word := range s.Services {
		want, known := serviceWords[word]
		if state, ok := m.ServiceState(name); !known || !ok || state != want {
			t.Errorf("%s: service %s is %s, not %s", label, name, state, word)
		}
	}
	for name, want := range s.SCM {
		if seen := m.ControllerStart(name); seen != want {
			t.Errorf("%s: the controller has start %d for %s, not %d", label, seen, name, want)
		}
	}
	compareBoot(t, label+": bcd", m.BCD(), s.BCD)
	compareBoot(t, label+": bcd-other", m.OtherBCD(), s.OtherBCD)
	if kind, _ := m.Look(`C:\ProgramData\fleetmend`); s.Ours != nil && (kind != Nothing) != *s.Ours {
		t.Errorf("%s: our folder is there: %v", label, kind != Nothing)
	}
	for place, want := range s.SDDL {
		if seen := m.Rights(place); seen != want {
			t.Errorf("%s: %s has the rights %q, not %q", label, place, seen, want)
		}
	}
	if s.Called != nil && !slices.Equal(called, *s.Called) {
		t.Errorf("%s: called\n%s\nnot\n%s", label, strings.Join(called, "\n"), strings.Join(*s.Called, "\n"))
	}
}

func compareBoot(t reporter, label string, seen, want map[string]string) {
	for name, value := range want {
		if seen[name] != value {
			t.Errorf("%s %s is %q, not %q", label, name, seen[name], value)
		}
	}
}

// registryLines are the values of a machine as bytes: names of keys without case, everything else by its characters.
func registryLines(m *Memory) []string {
	var lines []string
	for _, key := range m.Keys() {
		values, _ := m.Values(key)
		for name, v := range values {
			lines = append(lines, registryLine(key, name, v))
		}
	}
	slices.Sort(lines)
	return lines
}

func wantedRegistry(t reporter, want map[string]map[string]any) []string {
	var lines []string
	for key, values := range want {
		for name, v := range values {
			lines = append(lines, registryLine(fold(key), valueName(name), caseValue(t, v)))
		}
	}
	slices.Sort(lines)
	return lines
}

func registryLine(key, name string, v Value) string {
	kind, raw, err := v.Encode()
	return fmt.Sprintf("%s %s=%d:%X %v %v", key, name, kind, raw, v.Data, err)
}
