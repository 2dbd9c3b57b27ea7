package windows

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
)

func compareResult(t reporter, label string, expect map[string]any, result agent.Result) {
	raw, _ := json.Marshal(result)
	var seen map[string]any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber() // as in the case
	_ = decoder.Decode(&seen)
	for name, want := range expect {
		if !reflect.DeepEqual(seen[name], want) {
			t.Errorf("%s: %s is %v, not %v (%s)", label, name, seen[name], want, result.Message)
		}
	}
}

var ours = regexp.MustCompile(`(?i)\\fleetmend\\|\\System32\\[a-z-]+\.exe$`)

func compareMachine(t reporter, label string, s CaseStep, m *Memory, called []string) {
	if s.Files != nil {
		var want, seen []string
		for _, f := range *s.Files {
			want = append(want, fmt.Sprintf("%s %s %s", f.Path, strings.ToUpper(f.Hex), f.Modified.UTC().Format(time.RFC3339)))
		}
		for _, f := range m.Snapshot() {
			if !ours.MatchString(f.Path) {
				seen = append(seen, fmt.Sprintf("%s %s %s", f.Path, upperHex(f.Content), f.Modified.Format(time.RFC3339)))
			}
		}
		slices.Sort(want)
		slices.Sort(seen)
		if !slices.Equal(want, seen) {
			t.Errorf("%s: files are\n%s\nnot\n%s", label, strings.Join(seen, "\n"), strings.Join(want, "\n"))
		}
	}
	if s.Registry != nil {
		if seen, want := registryLines(m), wantedRegistry(t, *s.Registry); !slices.Equal(seen, want) {
			t.Errorf("%s: registry is\n%s\nnot\n%s", label, strings.Join(seen, "\n"), strings.Join(want, "\n"))
		}
	}
	for name, want := range s.Services {
		if running, ok, _ := m.Running(name); !ok || running != (want == "running") {
			t.Errorf("%s: service %s is running: %v, not %s", label, name, running, want)
		}
	}
	for name, want := range s.BCD {
		if seen := m.BCD()[name]; seen != want {
			t.Errorf("%s: bcd %s is %q, not %q", label, name, seen, want)
		}
	}
	if s.Called != nil && !slices.Equal(called, *s.Called) {
		t.Errorf("%s: called\n%s\nnot\n%s", label, strings.Join(called, "\n"), strings.Join(*s.Called, "\n"))
	}
}

func registryLines(m *Memory) []string {
	var lines []string
	for _, key := range m.Keys() {
		values, _ := m.Values(key)
		for name, v := range values {
			lines = append(lines, fmt.Sprintf("%s %s=%s %v", key, name, v.Type, v.Data))
		}
	}
	slices.Sort(lines)
	return lines
}

func wantedRegistry(t reporter, want map[string]map[string]any) []string {
	var lines []string
	for key, values := range want {
		for name, v := range values {
			value := caseValue(t, v)
			lines = append(lines, fmt.Sprintf("%s %s=%s %v", fold(key), valueName(name), value.Type, value.Data))
		}
	}
	slices.Sort(lines)
	return lines
}
