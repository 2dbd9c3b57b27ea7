package playbook

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBuiltinsParseAndBind(t *testing.T) {
	params := map[string]map[string]string{
		"disable-service": {"service": "CSFalconService", "stop": "true"},
		"disable-driver":  {"driver": "csagent"},
	}
	names := map[string]bool{}
	for _, s := range Builtins() {
		p, err := s.Bind(params[s.Playbook.Name])
		if err != nil {
			t.Errorf("%s: %v", s.Playbook.Name, err)
		}
		wire, err := json.Marshal(p)
		if err != nil || strings.Contains(string(wire), "${") || strings.Contains(string(wire), "params") {
			t.Errorf("%s: wire form still has parameters: %s %v", s.Playbook.Name, wire, err)
		}
		names[s.Playbook.Name] = true
	}
	for _, name := range []string{"crowdstrike-channel-file-291", "disable-service", "disable-driver", "safeboot-on", "safeboot-off"} {
		if !names[name] {
			t.Errorf("built-in %s is missing", name)
		}
	}
	p, err := mustBuiltin(t, "disable-service").Bind(params["disable-service"])
	if err != nil || !p.Fix[0].Service.Stop || p.Fix[0].Service.Name != "CSFalconService" || p.Fix[0].Service.Start != StartDisabled {
		t.Errorf("disable-service: %+v %v", p.Fix, err)
	}
	if p.Summary != "Disable the service CSFalconService; undo restores its start type" {
		t.Errorf("summary: %q", p.Summary)
	}
}

func mustBuiltin(t *testing.T, name string) *Source {
	t.Helper()
	s, err := Builtin(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFindSuggests(t *testing.T) {
	_, err := Find("safebot-on")
	if err == nil || !strings.Contains(err.Error(), `did you mean "safeboot-on"?`) {
		t.Errorf("got %v", err)
	}
	if _, err := Find("./nowhere.yaml"); err == nil || !strings.Contains(err.Error(), "nowhere.yaml") {
		t.Errorf("got %v", err)
	}
}

func TestWireFormOfTheChannelFile(t *testing.T) {
	p, err := mustBuiltin(t, "crowdstrike-channel-file-291").Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	wire, err := json.Marshal(p.Detect)
	want := `[{"file":"C:\\Windows\\System32\\drivers\\CrowdStrike\\C-00000291*.sys","header":"AAAAAAAA01002301","modified":{"after":"2024-07-19T04:09:00Z","before":"2024-07-19T05:27:00Z"}}]`
	if err != nil || string(wire) != want {
		t.Errorf("got  %s %v\nwant %s", wire, err, want)
	}
}

func asErrors(t *testing.T, err error) Errors {
	t.Helper()
	var all Errors
	if !errors.As(err, &all) {
		t.Fatalf("not a list of errors with places: %v", err)
	}
	return all
}

func TestFindReadsFiles(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "a.json"), []byte("\xef\xbb\xbf"+`{"playbook": "a", "fix": [{"bcd": {"delete": "safeboot"}}]}`+"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Find(filepath.Join(folder, "a.json"))
	if err != nil || s.Playbook.Name != "a" || s.Playbook.Fix[0].BCD.Delete != "safeboot" {
		t.Errorf("%+v %v", s, err)
	}
	if _, err := Find(folder); err == nil || !strings.Contains(err.Error(), "folder") {
		t.Errorf("got %v", err)
	}
}
