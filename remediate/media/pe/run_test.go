package pe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/media/aboard"
	"github.com/fleetmend/fleetmend/remediate/media/practice"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

type fakeSystem struct {
	drives  []string
	drivers []string
	safe    bool // the boot entry {default} has the element safeboot
	noBCD   bool
	hives   map[string]*memoryHive // by file name
	loads   []string
}

func (s *fakeSystem) BootEdit(_ context.Context, args ...string) ([]string, int, error) {
	switch {
	case s.noBCD:
		return nil, 0, errors.New("bcdedit.exe is not in this Windows PE")
	case args[0] == "/enum" && s.safe:
		return []string{"identifier  {0}", "safeboot                Minimal"}, 0, nil
	case args[0] == "/enum":
		return []string{"identifier  {0}"}, 0, nil
	case strings.Join(args, " ") == "/deletevalue {default} safeboot":
		s.safe = false
		return nil, 0, nil
	}
	return []string{"unknown"}, 1, nil
}

func (s *fakeSystem) LoadDriver(_ context.Context, inf string) error {
	s.drivers = append(s.drivers, filepath.Base(inf))
	if filepath.Base(inf) == "bad.inf" {
		return errors.New("drvload: exit status 2")
	}
	return nil
}
func (s *fakeSystem) Drives() []string { return s.drives }
func (s *fakeSystem) Firmware() []byte { return nil }

func put(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func bound(t *testing.T, name string, params map[string]string) playbook.Playbook {
	t.Helper()
	source, err := playbook.Builtin(name)
	if err != nil {
		t.Fatal(err)
	}
	p, err := source.Bind(params)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// place is a machine under Windows PE: a RAM disk with the program's folder, a stick, and the volume of a broken Windows.
type place struct {
	base, stick, disk, bad string
	system                 *fakeSystem
}

func newPlace(t *testing.T, settings aboard.Settings, books ...playbook.Playbook) place {
	t.Helper()
	ram, stick, disk := t.TempDir(), t.TempDir(), t.TempDir()
	base := filepath.Join(ram, "fleetmend")
	medium := asJSON(t, aboard.Medium{Version: 1, ID: "0123456789abcdef"})
	put(t, filepath.Join(base, "medium.json"), medium)
	put(t, filepath.Join(stick, "fleetmend", "medium.json"), medium)
	put(t, filepath.Join(base, "settings.json"), asJSON(t, settings))
	for _, p := range books {
		put(t, filepath.Join(base, "playbooks", p.Name+".json"), asJSON(t, p))
	}
	put(t, filepath.Join(disk, "WINDOWS", "System32", "config", "SYSTEM"), string(practice.SystemHive("ws001")))
	bad := put(t, filepath.Join(disk, "WINDOWS", "System32", "drivers", "CrowdStrike", "C-00000291-00000000-00000032.sys"), "\xaa\xaa\xaa\xaa\x01\x00\x23\x01bad")
	when := time.Date(2024, 7, 19, 4, 20, 0, 0, time.UTC)
	if err := os.Chtimes(bad, when, when); err != nil {
		t.Fatal(err)
	}
	return place{base, stick, disk, bad, &fakeSystem{drives: []string{stick, disk}, safe: true}}
}

func auto() aboard.Settings {
	return aboard.Settings{Version: 1, Run: "20240719-081500-abcdef", Choose: aboard.Auto, Message: "Questions? 555-0100"}
}

func (p place) run(t *testing.T, in string) (*aboard.Result, string, error) {
	t.Helper()
	var out bytes.Buffer
	r, settings, err := Run(context.Background(), Options{Base: p.base, System: p.system, In: strings.NewReader(in), Out: &out})
	if r != nil {
		out.WriteString(strings.Join(Words(r, settings), "\n"))
	}
	return r, out.String(), err
}

const channelFile = "crowdstrike-channel-file-291"

func TestRunRepairsOnce(t *testing.T) {
	p := newPlace(t, auto(), bound(t, channelFile, nil))
	r, words, err := p.run(t, "")
	if err != nil || r.Outcome != agent.Fixed || r.Machine.Name != "WS001" || r.Medium != "0123456789abcdef" {
		t.Fatalf("%+v, %v\n%s", r, err, words)
	}
	if _, err := os.Stat(p.bad); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the bad file is still there (%v)", err)
	}
	if p.system.safe {
		t.Error("the machine would start in safe mode again")
	}
	for _, want := range []string{"DONE, computer name WS001", "Repaired: " + channelFile, "555-0100"} {
		if !strings.Contains(words, want) {
			t.Errorf("the screen does not say %q:\n%s", want, words)
		}
	}
	files, err := aboard.ReadResults(os.DirFS(p.stick))
	if err != nil || len(files) != 1 || files[0].Err != nil || files[0].Name != "WS001.json" || files[0].Result.Playbooks[0].Result.Changed != 2 {
		t.Fatalf("%+v, %v", files, err)
	}
	r, _, err = p.run(t, "")
	if err != nil || r.Outcome != agent.Fixed || !r.Playbooks[0].Result.Repeated {
		t.Errorf("a second start: %+v, %v", r, err)
	}
	entries, err := os.ReadDir(filepath.Join(p.stick, "fleetmend", "results"))
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v: want one file per machine and nothing half written", entries, err)
	}
}

func TestRunSaysWhatIsNotPossible(t *testing.T) {
	p := newPlace(t, auto(), bound(t, channelFile, nil))
	p.system.noBCD = true
	r, words, err := p.run(t, "")
	if err != nil || r.Outcome != agent.Failed || !strings.Contains(r.Message, "bcdedit.exe is not in this Windows PE") {
		t.Errorf("without bcdedit: %+v, %v", r, err)
	}
	if !strings.Contains(words, "NOT DONE") {
		t.Errorf("the screen says:\n%s", words)
	}
	script, err := playbook.FromScript("powershell", "exit 0")
	if err != nil {
		t.Fatal(err)
	}
	if r, _, err = newPlace(t, auto(), script.Playbook).run(t, ""); err != nil || !strings.Contains(r.Message, "not possible on an offline installation: script") {
		t.Errorf("script: %+v, %v", r, err)
	}
}

func TestRunMenu(t *testing.T) {
	settings := auto()
	settings.Choose = aboard.Menu
	p := newPlace(t, settings, bound(t, channelFile, nil), bound(t, "disable-driver", map[string]string{"driver": "csagent"}))
	r, words, err := p.run(t, "7\n1\n")
	if err != nil || r.Outcome != agent.Fixed || len(r.Playbooks) != 1 {
		t.Fatalf("%+v, %v\n%s", r, err, words)
	}
	if !strings.Contains(words, "Type a number from 1 to 2") {
		t.Errorf("the screen says:\n%s", words)
	}
	if _, _, err := newPlace(t, settings, bound(t, channelFile, nil), bound(t, "disable-driver", map[string]string{"driver": "csagent"})).run(t, ""); err == nil {
		t.Error("nobody chose, and it went on")
	}
}

func TestStickOverridesImage(t *testing.T) {
	p := newPlace(t, auto(), bound(t, "disable-driver", map[string]string{"driver": "csagent"}))
	own := auto()
	own.Run = "newer-run"
	put(t, filepath.Join(p.stick, "fleetmend", "settings.json"), asJSON(t, own))
	put(t, filepath.Join(p.stick, "fleetmend", "playbooks", "extra.yaml"), string(playbook.BuiltinText(channelFile)))
	put(t, filepath.Join(p.base, "drivers", "nic", "bad.inf"), "")
	put(t, filepath.Join(p.stick, "fleetmend", "drivers", "raid", "good.INF"), "")
	r, words, err := p.run(t, "")
	if err != nil || r.Outcome != agent.Fixed || r.Run != "newer-run" {
		t.Fatalf("%+v, %v\n%s", r, err, words)
	}
	if got := strings.Join(p.system.drivers, " "); got != "bad.inf good.INF" || !strings.Contains(words, "bad.inf was not loaded") {
		t.Errorf("drivers %q\n%s", got, words)
	}
}

// TestStartedOverTheNetwork: wimboot shows what it was given in System32 of the image, and there is no stick to leave a
// result on.
func TestStartedOverTheNetwork(t *testing.T) {
	p := newPlace(t, auto(), bound(t, channelFile, nil))
	p.system.drives = []string{p.disk}
	system32 := filepath.Join(filepath.Dir(p.base), "Windows", "System32")
	own := auto()
	own.Run, own.Message = "run-of-this-machine", "Desk 12"
	put(t, filepath.Join(system32, "settings.json"), asJSON(t, own))
	keys := put(t, filepath.Join(system32, "keys.age"), "sealed")
	if r, _, err := p.run(t, ""); !errors.Is(err, ErrNoMedium) || r.Run != auto().Run {
		t.Errorf("a settings.json that is none of ours was taken: %+v, %v", r, err)
	}
	put(t, filepath.Join(system32, "fleetmend-network.json"), "{}")
	r, words, err := p.run(t, "")
	if err != nil || r.Outcome != agent.Clean || r.Run != own.Run || !strings.Contains(words, "Desk 12") || !strings.Contains(words, "no result is kept") {
		t.Errorf("%+v, %v\n%s", r, err, words)
	}
	p.system.drives = []string{filepath.Join(p.disk, "not there")}
	if r, _, err = p.run(t, ""); err != nil || !strings.Contains(r.Message, "Sealed recovery keys are in "+keys) {
		t.Errorf("locked: %+v, %v", r, err)
	}
	p.system.drives = []string{p.disk, p.stick} // a stick in it is used all the same
	if r, _, err = p.run(t, ""); err != nil || r.Run != own.Run {
		t.Errorf("with a stick: %+v, %v", r, err)
	}
	if files, err := aboard.ReadResults(os.DirFS(p.stick)); err != nil || len(files) != 1 {
		t.Errorf("%+v, %v", files, err)
	}
}

func TestRunWithoutWhatItNeeds(t *testing.T) {
	p := newPlace(t, auto(), bound(t, channelFile, nil))
	p.system.drives = []string{p.stick}
	r, _, err := p.run(t, "")
	if err != nil || r.Outcome != agent.Failed || !strings.Contains(r.Message, "No Windows was found") {
		t.Errorf("no disk: %+v, %v", r, err)
	}
	p.system.drives = []string{p.stick, filepath.Join(p.disk, "not there")}
	if r, _, err = p.run(t, ""); err != nil || !strings.Contains(r.Message, "locked by BitLocker") {
		t.Errorf("locked: %+v, %v", r, err)
	}
	p.system.drives = []string{p.disk}
	if r, _, err = p.run(t, ""); !errors.Is(err, ErrNoMedium) || r == nil || r.Outcome != agent.Fixed {
		t.Errorf("stick pulled: %+v, %v", r, err)
	}
	if err := os.RemoveAll(filepath.Join(p.base, "playbooks")); err != nil {
		t.Fatal(err)
	}
	if _, _, err = p.run(t, ""); err == nil || !strings.Contains(err.Error(), "no playbook") {
		t.Errorf("no playbook: %v", err)
	}
	if err := os.Remove(filepath.Join(p.base, "settings.json")); err != nil {
		t.Fatal(err)
	}
	if _, _, err = p.run(t, ""); err == nil || !strings.Contains(err.Error(), "no settings") {
		t.Errorf("no settings: %v", err)
	}
	if runtime.GOOS == "windows" || os.Geteuid() == 0 {
		return // rights on a folder are no obstacle there
	}
	q := newPlace(t, auto(), bound(t, channelFile, nil))
	if err := os.Chmod(filepath.Join(q.stick, "fleetmend"), 0o555); err != nil {
		t.Fatal(err)
	}
	if _, _, err := q.run(t, ""); !errors.Is(err, ErrNoMedium) {
		t.Errorf("read-only medium: %v", err)
	}
}
