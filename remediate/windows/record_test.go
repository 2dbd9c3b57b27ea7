package windows

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// record is a record in the run's folder, as any reader of JSON sees it.
func record(t *testing.T, m *Memory, name string) map[string]any {
	t.Helper()
	for _, f := range m.Snapshot() {
		if f.Path == propertyRun+name {
			var all map[string]any
			if err := json.Unmarshal(f.Content, &all); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return all
		}
	}
	t.Fatalf("there is no %s", name)
	return nil
}

// What the records say is read by agent.ps1, too, and by later versions: these words stay.
func TestTheWordsOfTheRecords(t *testing.T) {
	m := propertyMachine()
	got := New(m.Parts()).Do(t.Context(), request(agent.Fix, "n-1", propertyPlaybook()))
	if got.Outcome != agent.Fixed {
		t.Fatalf("%+v", got)
	}
	var said []string
	for n := range 9 {
		r := record(t, m, undoName(n))
		line := fmt.Sprint(r["step"], " ", r["action"])
		for _, side := range []string{"old", "new"} {
			if d, ok := r[side].(map[string]any); ok {
				line += fmt.Sprint(" ", side, " ", d["type"], d["data"])
			}
		}
		said = append(said, line)
	}
	want := []string{
		"0 quarantine", "0 quarantine", "1 put", "2 put", "3 registry old dword[=4] new dword[=5]", "4 registry old none[=0102]",
		"5 registry old dword[=2] new dword[=4]", "5 stop", "6 bcd new bcd[=Minimal]",
	}
	if !slices.Equal(said, want) {
		t.Errorf("the records say\n%s\nnot\n%s", strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
	if f := record(t, m, "fix.json"); f["outcome"] != "fixed" || f["records"] != 9.0 || f["changed"] != 8.0 && f["changed"] != 9.0 {
		t.Errorf("fix.json says %v", f)
	}
}

// Each step says how much it has changed, the requests of the run that were cut off included.
func TestStepsCountWhatTheyChanged(t *testing.T) {
	counts := func(r agent.Result) (all []int) {
		for _, s := range r.Steps {
			all = append(all, s.Changed)
		}
		return all
	}
	want := []int{2, 1}
	for n := 1; ; n++ {
		m, p, _ := threeFiles()
		first := New((&cutter{m, n, true}).parts()).Do(t.Context(), request(agent.Fix, "n-1", p))
		again := New(m.Parts()).Do(t.Context(), request(agent.Fix, "n-1", p))
		if again.Outcome != agent.Fixed || !slices.Equal(counts(again), want) || again.Changed != 3 {
			t.Errorf("cut at write %d, then again: %+v", n, again)
		}
		if first.Outcome == agent.Fixed {
			return
		}
	}
}

// A file that was taken back and is not as it was any more is named, and not called undone.
func TestWhatIsLostSinceIsNamed(t *testing.T) {
	m, p, _ := threeFiles()
	if got := New(m.Parts()).Do(t.Context(), request(agent.Fix, "n-1", p)); got.Outcome != agent.Fixed {
		t.Fatalf("%+v", got)
	}
	// b.sys is taken back and marked, then the power goes out before a.sys is.
	for n := 1; ; n++ {
		New((&cutter{m, n, false}).parts()).Do(t.Context(), request(agent.Undo, "n-2", p))
		if now := contents(m); now[`C:\Data\b.sys`] == "b" {
			if kind, _ := m.Look(propertyRun + "undone-0001.json"); kind == File && now[`C:\Data\a.sys`] == "" {
				break
			}
		}
		if n > 60 {
			t.Fatal("no cut leaves one of two files taken back: this tries nothing")
		}
	}
	m.WriteFile(`C:\Data\b.sys`, []byte("theirs"), written)
	got := New(m.Parts()).Do(t.Context(), request(agent.Undo, "n-2", p))
	if got.Outcome != agent.Failed || got.Message != `C:\Data\b.sys was taken back, and is not as it was any more` {
		t.Errorf("%+v", got)
	}
	if now := contents(m); now[`C:\Data\a.sys`] != "a" || now[`C:\Data\b.sys`] != "theirs" {
		t.Errorf("left %v", now)
	}
}

// A lock of this process is this very request's, begun again, or another one's that is at work: the nonce tells.
func TestALockOfOnesOwnProcess(t *testing.T) {
	me := Process{Host: "h", PID: 7, Started: 1, Alive: func(int, int64) bool { return true }}
	for _, c := range []struct {
		name, nonce string
		pid         int
		want        string
	}{{"begun again", "n-1", 7, agent.Fixed}, {"another request", "n-2", 7, agent.Busy}, {"another process", "n-1", 8, agent.Busy}} {
		m, p, _ := threeFiles()
		dead := m.Parts()
		dead.Process = me
		dead.Files = ended{&cutter{m, 4, false}}
		New(dead).Do(t.Context(), request(agent.Fix, "n-1", p))
		if kind, _ := m.Look(propertyRun + "lock.json"); kind != File {
			t.Fatal("the cut request left no lock: this tries nothing")
		}
		if l := record(t, m, lockName); l["v"] != 1.0 || l["by"] != "go" || l["host"] != "h" || l["pid"] != 7.0 || l["started"] != 1.0 || l["nonce"] != "n-1" {
			t.Errorf("lock.json says %v", l) // agent.ps1 reads it, too
		}
		later := m.Parts()
		later.Process = me
		later.Process.PID = c.pid
		if got := New(later).Do(t.Context(), request(agent.Fix, c.nonce, p)); string(got.Outcome) != c.want {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// unmovable is a machine where nobody gets hold of a stale lock, as when somebody else has it open.
type unmovable struct{ *Memory }

func (u unmovable) Move(from, to string) error {
	if strings.HasSuffix(from, lockName) {
		return errors.New("in use")
	}
	return u.Memory.Move(from, to)
}

func TestAStaleLockThatStaysIsBusy(t *testing.T) {
	m, p, before := threeFiles()
	dead := m.Parts()
	dead.Process = Process{Host: "h", PID: 7, Started: 1, Alive: func(int, int64) bool { return false }}
	dead.Files = ended{&cutter{m, 4, false}}
	New(dead).Do(t.Context(), request(agent.Fix, "n-1", p))
	later := m.Parts()
	later.Process = Process{Host: "h", PID: 8, Started: 1, Alive: func(int, int64) bool { return false }}
	later.Files = unmovable{m}
	if got := New(later).Do(t.Context(), request(agent.Fix, "n-2", p)); got.Outcome != agent.Busy || fmt.Sprint(contents(m)) != fmt.Sprint(before) {
		t.Errorf("%+v, left %v", got, contents(m))
	}
}

// quicker is a machine where another request replaces the stale lock by its own just before this one moves it away.
type quicker struct {
	*Memory
	theirs []byte
}

func (q quicker) Move(from, to string) error {
	if strings.HasSuffix(from, lockName) {
		q.WriteFile(from, q.theirs, written)
	}
	return q.Memory.Move(from, to)
}

func TestALockThatIsNewIsGivenBack(t *testing.T) {
	m, p, before := threeFiles()
	alive := func(pid int, _ int64) bool { return pid == 9 }
	dead := m.Parts()
	dead.Process = Process{Host: "h", PID: 7, Started: 1, Alive: alive}
	dead.Files = ended{&cutter{m, 4, false}}
	New(dead).Do(t.Context(), request(agent.Fix, "n-1", p))
	theirs, err := json.Marshal(lock{V: 1, Nonce: "n-9", By: "go", Host: "h", PID: 9, Started: 1})
	if err != nil {
		t.Fatal(err)
	}
	later := m.Parts()
	later.Process = Process{Host: "h", PID: 8, Started: 1, Alive: alive}
	later.Files = quicker{m, theirs}
	got := New(later).Do(t.Context(), request(agent.Fix, "n-2", p))
	if got.Outcome != agent.Busy || !strings.Contains(got.Message, "process 9") || fmt.Sprint(contents(m)) != fmt.Sprint(before) {
		t.Errorf("%+v, left %v", got, contents(m))
	}
	if l := record(t, m, lockName); l["nonce"] != "n-9" {
		t.Errorf("the lock is %v", l)
	}
	for _, f := range m.Snapshot() {
		if strings.HasSuffix(f.Path, ".old") {
			t.Errorf("%s is left", f.Path)
		}
	}
}

// Of an offline installation one entry is meant, and where it cannot be read nothing is known of it.
func TestABootEntryThatCannotBeRead(t *testing.T) {
	m := propertyMachine()
	parts := m.Parts()
	parts.BootEntry = "{no such entry}"
	p := playbook.Playbook{Name: "x", Verify: []playbook.Condition{}, Fix: []playbook.Action{}, Detect: []playbook.Condition{{BCD: "safeboot", Present: new(bool)}}}
	got := New(parts).Do(t.Context(), request(agent.Detect, "n-1", p))
	if got.Outcome != agent.Failed || !strings.Contains(got.Message, "{no such entry}") {
		t.Errorf("%+v", got)
	}
}

// A record without the field that every record of its sort has is damaged, whatever else it holds.
func TestARecordWithoutItsFieldIsDamaged(t *testing.T) {
	for text, want := range map[string]bool{`{"outcome":"fixed"}`: true, `{}`: false, `{"run":"r-1"}`: false, `{"outcome":null}`: false, `{"outcome":7}`: false, `[]`: false, ``: false} {
		m := NewMemory(NewBase(0))
		r := &run{Parts: m.Parts(), folder: `C:\r`}
		m.WriteFile(`C:\r\fix.json`, []byte(text), written)
		found, err := r.read("fix.json", "outcome", &outcome{})
		if found != want || !want && !errors.As(err, new(damage)) {
			t.Errorf("%q: %v, %v", text, found, err)
		}
	}
}

// endless is a machine whose files have no end.
type endless struct {
	*Memory
	read int
}

func (e *endless) Open(string) (io.ReadCloser, error) { return io.NopCloser(e), nil }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	return len(p), nil
}

// A record that somebody made endless, or as large as the disk, is damaged in bounded memory.
func TestAnEndlessRecordIsDamaged(t *testing.T) {
	m := NewMemory(NewBase(0))
	m.WriteFile(`C:\r\fix.json`, nil, written)
	e := &endless{Memory: m}
	r := &run{Parts: m.Parts(), folder: `C:\r`}
	r.Files = e
	if _, err := r.read("fix.json", "outcome", &outcome{}); !errors.As(err, new(damage)) || e.read > 16<<20 {
		t.Errorf("%v after %d bytes", err, e.read)
	}
}
