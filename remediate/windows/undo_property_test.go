package windows

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// item is one thing that the playbook of this test changes.
type item struct {
	name    string
	get     func(m *Memory) string
	foreign func(m *Memory, text string)
}

const (
	propertyKey = `HKEY_LOCAL_MACHINE\SOFTWARE\Example`
	propertyRun = `C:\ProgramData\fleetmend\runs\r-1\`
)

func fileItem(path string) item {
	return item{path, func(m *Memory) string {
		for _, f := range m.Snapshot() {
			if f.Path == path {
				return fmt.Sprintf("%s %d", f.Content, f.Modified.Unix())
			}
		}
		return "absent"
	}, func(m *Memory, text string) { m.WriteFile(path, []byte(text), time.Unix(1_700_000_000, 0)) }}
}

func valueItem(key, name string) item {
	return item{key + " " + name, func(m *Memory) string {
		v, ok, _ := m.Get(key, name)
		return fmt.Sprint(v, ok)
	}, func(m *Memory, text string) { m.SetValue(key, name, Value{"string", text}) }}
}

var propertyItems = []item{
	fileItem(`C:\Data\q1.sys`), fileItem(`C:\Data\q2.sys`), fileItem(`C:\Data\p.cfg`), fileItem(`C:\New\n.cfg`),
	valueItem(propertyKey, "Num"), valueItem(propertyKey, "Text"), valueItem(servicesKey+`\Spooler`, "Start"),
	{"safeboot", func(m *Memory) string { return m.BCD()["safeboot"] }, func(m *Memory, text string) { m.SetBCD("safeboot", text) }},
}

func propertyMachine() *Memory {
	base := NewBase(22631)
	old := time.Date(2024, 7, 19, 4, 20, 0, 0, time.UTC)
	for path, text := range map[string]string{`C:\Data\q1.sys`: "one", `C:\Data\q2.sys`: "two", `C:\Data\p.cfg`: "old", `C:\Data\other`: "x"} {
		base.AddFile(path, []byte(text), old)
	}
	base.AddValue(propertyKey, "Num", Value{"dword", uint64(4)})
	base.AddValue(propertyKey, "Text", Value{"none", []byte{1, 2}})
	base.AddValue(servicesKey+`\Spooler`, "Start", Value{"dword", uint64(2)})
	base.AddService("Spooler", true)
	m := NewMemory(base)
	m.Clock = func() time.Time { return time.Unix(1_800_000_000, 0) }
	return m
}

func propertyPlaybook() playbook.Playbook {
	put := func(path, text string) playbook.Action {
		return playbook.Action{Put: &playbook.Put{File: path, Hex: fmt.Sprintf("%X", text), SHA256: sumOf([]byte(text))}}
	}
	return playbook.Playbook{Name: "property", Reboot: "never", Fix: []playbook.Action{
		{Quarantine: &playbook.Quarantine{File: `C:\Data\q*.sys`}},
		put(`C:\Data\p.cfg`, "new"), put(`C:\New\n.cfg`, "new"),
		{Registry: &playbook.RegistryChange{Key: propertyKey, Name: "Num", Value: 5}},
		{Registry: &playbook.RegistryChange{Key: propertyKey, Name: "Text", Delete: true}},
		{Service: &playbook.StartChange{Name: "Spooler", Start: "disabled", Stop: true}},
		{BCD: &playbook.BCDChange{Set: "safeboot", Value: "Minimal"}},
	}}
}

// TestUndoSaysWhatIsOnDisk draws sequences of fix, undo, power cuts, changes by others and damage to records and kept
// files. Whatever happened: "undone" means that everything the fix changed is as it was before; an undo never writes over
// what somebody else wrote since; and where nobody interfered, undo does succeed.
func TestUndoSaysWhatIsOnDisk(t *testing.T) {
	t.Parallel()
	sequences := 400
	switch {
	case os.Getenv("FLEETMEND_PROVE") != "":
		sequences = 10_000
	case os.Getenv("FLEETMEND_LONG") != "":
		sequences = 3_000
	}
	undone := 0
	for seed := range sequences {
		s := &sequence{t: t, random: rand.New(rand.NewPCG(uint64(seed), 13)), m: propertyMachine(), foreign: map[string]bool{}, touched: map[string]bool{}}
		s.before = s.look()
		s.play()
		undone += s.undone
		if t.Failed() {
			t.Fatalf("seed %d: %s", seed, strings.Join(s.steps, ", "))
		}
	}
	if undone < sequences/4 {
		t.Errorf("only %d of %d sequences had an undo that succeeded", undone, sequences)
	}
}

type sequence struct {
	t       *testing.T
	random  *rand.Rand
	m       *Memory
	before  map[string]string
	foreign map[string]bool // what somebody else changed last
	touched map[string]bool // what a fix changed
	record  string
	steps   []string
	meddled bool // somebody changed or damaged something, or undo was begun
	undone  int
}

func (s *sequence) look() map[string]string {
	all := map[string]string{}
	for _, i := range propertyItems {
		all[i.name] = i.get(s.m)
	}
	return all
}

func (s *sequence) play() {
	s.ask(agent.Fix)
	for range 1 + s.random.IntN(6) {
		switch s.random.IntN(8) {
		case 0:
			s.ask(agent.Fix)
		case 1, 2, 3:
			s.ask(agent.Undo)
		case 4, 5:
			i := propertyItems[s.random.IntN(len(propertyItems))]
			i.foreign(s.m, fmt.Sprint("foreign ", s.random.IntN(1000)))
			s.foreign[i.name], s.meddled = true, true
			s.steps = append(s.steps, "somebody changes "+i.name)
		default:
			s.damage()
		}
		if s.t.Failed() {
			return
		}
	}
	s.ask(agent.Undo)
}

// damage spoils a record or a kept file.
func (s *sequence) damage() {
	var ours []FileState
	for _, f := range s.m.Snapshot() {
		name := strings.TrimPrefix(f.Path, propertyRun)
		if strings.HasPrefix(name, "undo-") || strings.HasPrefix(name, "kept-") || name == "manifest.json" {
			ours = append(ours, f)
		}
	}
	if len(ours) == 0 {
		return
	}
	f := ours[s.random.IntN(len(ours))]
	if last := fmt.Sprintf("undo-%04d.json", s.records()-1); s.record == "" && strings.HasSuffix(f.Path, last) {
		return // of a fix that was cut off nothing else tells that there was one more record
	}
	s.meddled = true
	switch how := s.random.IntN(3); {
	case how == 0:
		s.m.RemoveFile(f.Path)
		s.steps = append(s.steps, "removed "+f.Path)
	case how == 1 || s.record == "": // without the journal's hash nothing but the form of a record can be judged
		s.m.WriteFile(f.Path, f.Content[:len(f.Content)/2], f.Modified)
		s.steps = append(s.steps, "cut "+f.Path)
	default:
		changed := append([]byte(nil), f.Content...)
		changed[s.random.IntN(len(changed))] ^= 1
		s.m.WriteFile(f.Path, changed, f.Modified)
		s.steps = append(s.steps, "changed a byte of "+f.Path)
	}
}

// records is how many undo records there are.
func (s *sequence) records() (n int) {
	for _, f := range s.m.Snapshot() {
		if strings.HasPrefix(f.Path, propertyRun+"undo-0") {
			n++
		}
	}
	return n
}

// ask sends one request, sometimes to a machine that loses power on the way, and looks at what it did and said.
func (s *sequence) ask(mode agent.Mode) {
	parts := s.m.Parts()
	cut := s.random.IntN(3) == 0
	if cut {
		c := &cutter{s.m, 1 + s.random.IntN(30), s.random.IntN(2) == 0}
		parts = c.parts()
	}
	was := s.look()
	r := New(parts).Do(context.Background(), agent.Request{Run: "r-1", Nonce: agent.Nonce(), Mode: mode, Playbook: propertyPlaybook(), Record: s.record})
	now := s.look()
	s.steps = append(s.steps, fmt.Sprintf("%s (cut %v): %s %q", mode, cut, r.Outcome, r.Message))
	for _, i := range propertyItems {
		if was[i.name] == now[i.name] {
			continue
		}
		if mode == agent.Undo && s.foreign[i.name] && now[i.name] != s.before[i.name] {
			s.t.Errorf("undo wrote over %s: %q became %q", i.name, was[i.name], now[i.name])
		}
		if mode == agent.Undo && s.foreign[i.name] && was[i.name] != s.before[i.name] {
			s.t.Errorf("undo took away what somebody made of %s: %q became %q", i.name, was[i.name], now[i.name])
		}
		if mode == agent.Fix {
			if !s.touched[i.name] {
				s.before[i.name] = was[i.name]
			}
			s.touched[i.name], s.foreign[i.name] = true, false
		}
	}
	if mode == agent.Undo { // what is made of a thing that is back is no business of this run
		defer func() {
			for _, i := range propertyItems {
				s.touched[i.name] = s.touched[i.name] && now[i.name] != s.before[i.name]
			}
		}()
	}
	switch {
	case mode == agent.Fix:
		if r.Outcome == agent.Fixed && s.record == "" {
			s.record = r.Record // as the journal keeps it
		}
		if r.Outcome == agent.Fixed && !r.Repeated && !s.meddled {
			s.fixed(now)
		}
		return
	case r.Outcome == agent.Undone:
		s.undone = 1
		for _, i := range propertyItems {
			if s.touched[i.name] && now[i.name] != s.before[i.name] {
				s.t.Errorf("undone is said, and %s is %q, not %q", i.name, now[i.name], s.before[i.name])
			}
		}
		if state, _ := s.m.ServiceState("Spooler"); s.touched[servicesKey+`\Spooler Start`] && !s.meddled && state != StateRunning {
			s.t.Errorf("undone is said, and the service is %s", state)
		}
	case !s.meddled && !cut:
		s.t.Errorf("nobody interfered, and undo says %s: %s", r.Outcome, r.Message)
	}
}

func (s *sequence) fixed(now map[string]string) {
	for name, want := range map[string]string{`C:\Data\q1.sys`: "absent", `C:\Data\q2.sys`: "absent", "safeboot": "Minimal"} {
		if now[name] != want {
			s.t.Errorf("fixed is said, and %s is %q", name, now[name])
		}
	}
	for _, name := range []string{`C:\Data\p.cfg`, `C:\New\n.cfg`} {
		if !strings.HasPrefix(now[name], "new ") {
			s.t.Errorf("fixed is said, and %s is %q", name, now[name])
		}
	}
}
