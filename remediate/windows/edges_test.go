package windows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// bare is a request at work on a machine, with the run's folder known and nothing begun.
func bare(t *testing.T, parts Parts) *run {
	t.Helper()
	return &run{Parts: New(parts).parts, ctx: t.Context(), request: request(agent.Fix, "n-1", playbook.Playbook{}), folder: strings.TrimSuffix(propertyRun, `\`),
		counted: map[string]int{}, scripts: map[int]int{}, seals: map[int]string{}}
}

// An argument that cmd.exe would read as code is refused, each of its letters; a short name with its tilde, or a path, is none.
func TestWhatCmdWouldReadAsCode(t *testing.T) {
	for _, c := range "&|<>^%\"!\r\n" {
		if err := fitsCmd("echo", []string{"x", "a" + string(c)}); err == nil {
			t.Errorf("%q is taken", c)
		}
	}
	if err := fitsCmd("echo \x7f", []string{`C:\PROGRA~1\a-b_c (d) [e] {f} 'g' $h #i @j =k +l ,m ;n ` + "`o", "é"}); err != nil {
		t.Error(err)
	}
	if err := fitsCmd("echo \u0080", nil); err == nil {
		t.Error("a letter of another code page is taken")
	}
}

// What a playbook says is a number, a text or a list, from YAML and from JSON alike; what is none of these is refused.
func TestWhatAPlaybookMeansByAValue(t *testing.T) {
	for _, c := range []struct {
		v    any
		kind string
		want []string
	}{
		{"x", "text", []string{"x"}}, {json.Number("12"), "number", []string{"12"}}, {float64(12), "number", []string{"12"}}, {float64(-3), "number", []string{"-3"}},
		{float64(1 << 40), "number", []string{"1099511627776"}}, {7, "number", []string{"7"}}, {int64(-7), "number", []string{"-7"}},
		{uint64(1) << 63, "number", []string{"9223372036854775808"}}, {[]string{"a", "b"}, "list", []string{"a", "b"}}, {[]any{"a", ""}, "list", []string{"a", ""}},
	} {
		if kind, texts, ok := wanted(c.v); kind != c.kind || !slices.Equal(texts, c.want) || !ok {
			t.Errorf("%#v is %s %q %v", c.v, kind, texts, ok)
		}
	}
	for _, bad := range []any{nil, true, 1.5, json.Number("1.5"), json.Number("1e3"), json.Number("1E3"), float64(1 << 63 * 2), -float64(1 << 63 * 2), []any{"a", 1}, map[string]any{}} {
		if kind, texts, ok := wanted(bad); ok {
			t.Errorf("%#v is %s %q", bad, kind, texts)
		}
	}
	if _, _, ok := wanted(float64(1<<63) * 1.5); !ok {
		t.Error("a number below 2 to the 64th is refused")
	}
	for given, want := range map[string]any{"dword": 1, "qword": 1, "string": "x", "expand-string": "x", "multi-string": []string{"x"}} {
		for _, v := range []any{1, "x", []string{"x"}} {
			if d, err := newData(given, v); (err == nil) != reflect.DeepEqual(v, want) || err == nil && d.Type != given {
				t.Errorf("%s of %v: %+v %v", given, v, d, err)
			}
		}
	}
	for _, d := range []data{
		{Type: "dword", Data: []string{"=4294967296"}}, {Type: "dword", Data: []string{"=-1"}}, {Type: "qword", Data: []string{"=18446744073709551616"}}, {Type: "string"},
		{Type: "string", Data: []string{"=a", "=b"}}, {Type: "binary", Data: []string{"=0g"}}, {Type: "odd", Data: []string{"=00"}}, {Type: "string", Raw: []string{"=0g"}}, {Type: "odd", Raw: []string{"=00"}},
	} {
		if v, err := d.value(); err == nil {
			t.Errorf("%+v is %+v", d, v)
		}
	}
	if v, err := (&data{Type: "dword", Data: []string{"=4294967295"}}).value(); err != nil || v.Data != uint64(4294967295) {
		t.Errorf("%+v %v", v, err)
	}
	for _, bad := range []Value{{"dword", nil}, {"string", 1.5}} {
		if d, err := fromValue(bad); err == nil {
			t.Errorf("%+v is %+v", bad, d)
		}
	}
}

// A value whose bytes make none is equal to nothing; lists are compared member by member, without regard to case.
func TestWhatIsEqual(t *testing.T) {
	list := &data{Type: "multi-string", Data: []string{"=a", "=B"}}
	for _, c := range []struct {
		now  *data
		want any
		same bool
	}{
		{&data{Type: "dword", Raw: []string{"=00"}}, 0, false}, {&data{Type: "string", Raw: []string{"=00"}}, "", false}, {&data{Type: "multi-string"}, []string{}, true},
		{list, []string{"A", "b"}, true}, {list, []string{"a", "c"}, false}, {list, []string{"a"}, false}, {list, "a", false}, {list, true, false},
		{&data{Type: "qword", Data: []string{"=5"}}, 5, true}, {&data{Type: "qword", Data: []string{"=5"}}, 6, false}, {&data{Type: "dword", Data: []string{"=5"}}, "5", false},
		{&data{Type: "binary", Data: []string{"=0A"}}, "0a", true}, {&data{Type: "binary", Data: []string{"=10"}}, 10, false},
	} {
		if equals(c.now, c.want) != c.same {
			t.Errorf("%+v and %v: not %v", c.now, c.want, c.same)
		}
	}
}

// What the variables of a Windows that does not run stand for.
func TestVariablesOfAnOfflineInstallation(t *testing.T) {
	for name, want := range map[string]string{
		"SystemDrive": `C:`, "SystemRoot": `C:\Windows`, "WinDir": `C:\Windows`, "ProgramData": `C:\ProgramData`, "AllUsersProfile": `C:\ProgramData`, "ProgramFiles": `C:\Program Files`,
		"ProgramW6432": `C:\Program Files`, "ProgramFiles(x86)": `C:\Program Files (x86)`, "Public": `C:\Users\Public`, "UserProfile": "", "": "",
	} {
		if got := OfflineVariable(name); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	if got := bound(strings.Repeat("é", 2001)); got != strings.Repeat("é", 2000) {
		t.Errorf("%d runes are left of 2001", len([]rune(got)))
	}
	if got := bound(strings.Repeat("é", 2000)); len([]rune(got)) != 2000 || bound("a\xff") != "a\uFFFD" {
		t.Errorf("%d runes are left of 2000, %q", len([]rune(got)), bound("a\xff"))
	}
}

// Where {current} is not answered, {default} is taken only if it is this Windows by its drive.
func TestTheEntryOfThisWindows(t *testing.T) {
	for _, c := range []struct{ system, device, want string }{
		{"C:", "partition=C:", "{default}"}, {"D:", "partition=D:", "{default}"}, {"D:", "partition=C:", ""}, {"C:", "partition=CC:", ""}, {"C:", "partition=C:x", ""}, {"C:", "unknown", ""},
	} {
		m := NewMemory(NewBase(0))
		m.SystemDrive = c.system
		m.OnTool = func(_ string, args []string) ([]string, int, bool) {
			if args[1] == "{current}" {
				return []string{"not", "found"}, 1, true
			}
			return []string{"osdevice  partition=Z:", "DEVICE   " + c.device + "  ", "safeboot  Minimal"}, 0, true
		}
		entry, err := bare(t, m.Parts()).bootEntry()
		if entry.name != c.want || (err == nil) != (c.want != "") || c.want != "" && *entry.element("safeboot") != "Minimal" {
			t.Errorf("%+v: %+v %v", c, entry, err)
		}
		if c.want == "" && !strings.Contains(fmt.Sprint(err), "{current} /v ended with 1: not found") {
			t.Errorf("%+v: %v", c, err)
		}
	}
	m := NewMemory(NewBase(0))
	m.OnTool = func(string, []string) ([]string, int, bool) { return []string{"device partition=C:"}, 1, true }
	if entry, err := bare(t, m.Parts()).bootEntry(); err == nil {
		t.Errorf("neither was answered: %+v", entry)
	}
	for _, c := range []struct {
		now, want string
		same      bool
	}{{"Yes", "on", true}, {"No", "false", true}, {"Yes", "1", true}, {"No", "0", true}, {"Yes", "no", false}, {"Minimal", "minimal", true}, {"10", "1ON", false}, {"Yes", "0", false}} {
		if sameElement(c.now, c.want) != c.same {
			t.Errorf("%s and %s: not %v", c.now, c.want, c.same)
		}
	}
}

const safeKey = `HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\SafeBoot\Network`

func safeBootPlaybook() playbook.Playbook {
	return playbook.Playbook{Name: "x", Detect: []playbook.Condition{}, Verify: []playbook.Condition{}, Fix: []playbook.Action{{BCD: &playbook.BCDChange{Set: "safeboot", Value: "Network"}}}}
}

// Before a machine is sent to safe mode, the service by which it is reached is registered there with all that it needs; undo takes out
// what was made, and nothing that was there or that somebody has put more into.
func TestTheWayBackFromSafeMode(t *testing.T) {
	base := NewBase(0)
	base.AddKey(safeKey)
	needs := map[string][]string{"WinRM": {"RPCSS", "", "HTTP"}, "RPCSS": {"One"}, "One": {"Two"}, "Two": {"Three"}, "Three": {"Four"}, "Four": {"Five"}, "Five": {"Six"}, "Six": nil, "HTTP": {"gone"}}
	for name, list := range needs {
		base.AddKey(servicesKey + `\` + name)
		if list != nil {
			base.AddValue(servicesKey+`\`+name, "DependOnService", Value{"multi-string", list})
		}
	}
	base.AddValue(safeKey+`\HTTP`, "", Value{"string", "Service"})
	m := NewMemory(base)
	fixed := New(m.Parts()).Do(t.Context(), request(agent.Fix, "n-1", safeBootPlaybook()))
	if fixed.Outcome != agent.Fixed || m.BCD()["safeboot"] != "Network" {
		t.Fatalf("%+v %v", fixed, m.BCD())
	}
	made := func() (all []string) {
		for _, key := range m.Keys() {
			if name, ok := strings.CutPrefix(key, fold(safeKey)+`\`); ok {
				all = append(all, name)
			}
		}
		slices.Sort(all)
		return all
	}
	if got := strings.Join(made(), " "); got != "FOUR HTTP ONE RPCSS THREE TWO WINRM" { // five deep: a ring of needs has an end
		t.Errorf("registered are %s", got)
	}
	if v, ok, err := m.Get(safeKey+`\Two`, ""); !ok || err != nil || v != (Value{"string", "Service"}) {
		t.Errorf("%+v %v %v", v, ok, err)
	}
	m.SetValue(safeKey+`\One`, "", Value{"string", "theirs"})
	if err := m.RemoveKey(safeKey + `\Two`); err != nil {
		t.Fatal(err)
	}
	back := New(m.Parts()).Do(t.Context(), request(agent.Undo, "n-2", safeBootPlaybook()))
	if back.Outcome != agent.Failed || !strings.Contains(back.Message, `will not remove `+safeKey+`\One: it was changed since`) {
		t.Errorf("%+v", back)
	}
	back = New(m.Parts()).Do(t.Context(), request(agent.Undo, "n-3", safeBootPlaybook()))
	if got := strings.Join(made(), " "); back.Outcome != agent.Failed || got != "HTTP ONE" || m.BCD()["safeboot"] != "" {
		t.Errorf("%+v, registered are %s", back, got)
	}
	m = NewMemory(NewBase(0))
	none := New(m.Parts()).Do(t.Context(), request(agent.Fix, "n-1", safeBootPlaybook()))
	if none.Outcome != agent.Failed || !strings.Contains(none.Message, "no service 'WinRM': in safe mode nobody would reach this machine") || m.BCD()["safeboot"] != "" {
		t.Errorf("%+v %v", none, m.BCD())
	}
}

// A lock of another computer, and one that is half written, hold for two minutes and not longer.
func TestHowLongALockHolds(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, c := range []struct {
		name  string
		l     lock
		stale bool
	}{
		{"just taken", lock{Host: "pe", Taken: now.Unix()}, false}, {"two minutes", lock{Host: "pe", Taken: now.Unix() - 120}, false},
		{"longer", lock{Host: "pe", Taken: now.Unix() - 121}, true}, {"renewed", lock{Host: "pe", Taken: now.Unix() - 500, Renewed: now.Unix() - 120}, false},
	} {
		m := NewMemory(NewBase(0))
		m.Clock = func() time.Time { return now }
		if got := bare(t, m.Parts()).stale(c.l); got != c.stale {
			t.Errorf("%s: stale %v", c.name, got)
		}
	}
	for age, want := range map[time.Duration]string{2 * time.Minute: agent.Busy, 2*time.Minute + time.Second: agent.Fixed} {
		m, p, _ := threeFiles()
		r := bare(t, m.Parts())
		for _, folder := range []string{`C:\ProgramData\fleetmend`, `C:\ProgramData\fleetmend\runs`, r.folder} {
			if err := m.Own(folder); err != nil {
				t.Fatal(err)
			}
		}
		m.WriteFile(r.folder+`\`+lockName, []byte(`{"v":1,"non`), now.Add(-age))
		m.WriteFile(r.folder+`\other`, nil, now.Add(-time.Hour))
		for _, mode := range []agent.Mode{agent.Detect, agent.Fix} {
			got := New(m.Parts()).Do(t.Context(), request(mode, "n-1", p))
			if busy := got.Outcome == agent.Busy; busy != (want == agent.Busy) || mode == agent.Fix && got.Outcome != want {
				t.Errorf("half a lock of %s, %s: %+v", age, mode, got)
			}
		}
	}
}

// Whose process a lock is: this one by its start, another by whether it is still there.
func TestWhetherAProcessIsThere(t *testing.T) {
	me := ownProcess()
	if me.PID != os.Getpid() || !me.Alive(me.PID, me.Started) || me.Alive(me.PID, me.Started-1) {
		t.Errorf("%+v is not alive, or somebody else of its number is", me)
	}
	if !me.Alive(os.Getppid(), 0) {
		t.Error("who started this is taken for gone")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self, "-test.run=^$")
	if err := child.Run(); err != nil {
		t.Fatal(err)
	}
	if me.Alive(child.Process.Pid, 0) {
		t.Error("a process that has ended is taken for alive")
	}
}

// What another build has kept: its newest stays beside ours. What was cut in the middle goes after a day, and what is not ours stays.
func TestOldAgentsGo(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	m := NewMemory(NewBase(0))
	m.Clock = func() time.Time { return now }
	top, folder := `C:\ProgramData\fleetmend`, `C:\ProgramData\fleetmend\agent`
	for _, one := range []string{top, folder} {
		if err := m.Own(one); err != nil {
			t.Fatal(err)
		}
	}
	name := func(c string, n int, end string) string { return folder + `\` + strings.Repeat(c, n) + end }
	old, half, fresh := name("a", 64, ".ps1"), name("c", 32, ".new"), name("d", 32, ".new")
	newer, short := name("b", 64, ".ps1"), name("e", 63, ".ps1")
	m.WriteFile(old, nil, now.Add(-3*time.Hour))
	m.WriteFile(newer, nil, now.Add(-2*time.Hour))
	m.WriteFile(short, nil, now.Add(-9*time.Hour))
	m.WriteFile(half, nil, now.Add(-24*time.Hour-time.Second))
	m.WriteFile(fresh, nil, now.Add(-24*time.Hour))
	if kept, err := New(m.Parts()).keep(""); err != nil || !kept {
		t.Fatalf("%v %v", kept, err)
	}
	for path, want := range map[string]Kind{old: Nothing, newer: File, short: File, half: Nothing, fresh: File, folder + `\` + keptName(agent.Digest()): File} {
		if kind, err := m.Look(path); kind != want || err != nil {
			t.Errorf("%s: %v %v, want %v", path, kind, err, want)
		}
	}
	p := m.Parts()
	asides := &noted{Memory: m}
	p.Files = asides
	m.RemoveFile(folder + `\` + keptName(agent.Digest()))
	if kept, err := New(p).keep(""); err != nil || !kept || len(asides.made) != 1 {
		t.Fatalf("%v %v %v", kept, err, asides.made)
	}
	if _, file := splitPath(asides.made[0]); !halfFile.MatchString(file) {
		t.Errorf("%s would never be cleared away where a request is cut in the middle", file)
	}
	asides.fails = true
	m.RemoveFile(folder + `\` + keptName(agent.Digest()))
	if kept, err := New(p).keep(""); kept || !errors.Is(err, errCut) {
		t.Errorf("%v %v", kept, err)
	}
	if kind, _ := m.Look(asides.made[1]); kind != Nothing {
		t.Error("what could not be moved is left")
	}
}

// noted notes which files are made, and may move none.
type noted struct {
	*Memory
	made  []string
	fails bool
}

func (n *noted) Create(path string, content []byte) error {
	n.made = append(n.made, path)
	return n.Memory.Create(path, content)
}

func (n *noted) Move(from, to string) error {
	if n.fails {
		return errCut
	}
	return n.Memory.Move(from, to)
}

// What runs is stopped after what depends on it, once each; what is stopped already is left alone.
func TestWhatIsStopped(t *testing.T) {
	base := NewBase(0)
	for name, running := range map[string]bool{"S": true, "A": true, "B": false, "C": true} {
		base.AddService(name, running)
	}
	m := NewMemory(base)
	m.Below = map[string][]string{"S": {"A", "B"}, "A": {"C"}, "B": {"C"}}
	r := bare(t, m.Parts())
	if names, err := r.running("S"); err != nil || strings.Join(names, " ") != "C A S" {
		t.Errorf("%v %v", names, err)
	}
	for _, name := range []string{"B", "nobody"} {
		if names, err := r.running(name); err != nil || len(names) != 0 {
			t.Errorf("%s: %v %v", name, names, err)
		}
	}
	m.OnScript = func(ctx context.Context, _, _ string, _ []string) (string, int, error) {
		if until, ok := ctx.Deadline(); !ok || time.Until(until) > 5*time.Minute || time.Until(until) < 4*time.Minute {
			t.Errorf("a script without a time of its own has until %v", until)
		}
		return "x", 0, nil
	}
	if output, exit, err := r.script("cmd", "echo", nil, 0); output != "x" || exit != 0 || err != nil {
		t.Errorf("%q %d %v", output, exit, err)
	}
}

// What one of Windows' tools says when it refuses is said whole, in one line.
func TestWhatAToolSaysIsSaid(t *testing.T) {
	m := NewMemory(NewBase(0))
	m.OnTool = func(name string, args []string) ([]string, int, bool) {
		if name == "shutdown.exe" {
			return []string{"Access", "denied.(5)"}, 5, true
		}
		return []string{"not", "allowed"}, 3, args[0] == "/set"
	}
	p := safeBootPlaybook()
	p.Fix[0].BCD.Value = "Minimal"
	got := New(m.Parts()).Do(t.Context(), request(agent.Fix, "n-1", p))
	if got.Outcome != agent.Failed || got.Message != "bcdedit.exe /set {current} safeboot Minimal ended with 3: not allowed" {
		t.Errorf("%+v", got)
	}
	r := bare(t, m.Parts())
	var result agent.Result
	if err := r.restart(&result); err != nil || result.Reboot != "" || result.Message != "restart refused: shutdown.exe ended with 5: Access denied.(5)" {
		t.Errorf("%+v %v", result, err)
	}
	for _, exit := range []int{0, 1190, 1115} { // 1190: one is scheduled already; 1115: it goes down now
		m.OnTool = func(string, []string) ([]string, int, bool) { return nil, exit, true }
		var result agent.Result
		if err := r.restart(&result); err != nil || result.Reboot != "scheduled" || result.Message != "" {
			t.Errorf("%d: %+v %v", exit, result, err)
		}
	}
}
