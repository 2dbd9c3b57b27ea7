package windows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
)

var errCut = errors.New("the power went out")

// cutter lets n writes through and then fails every one, as a machine that loses power does.
type cutter struct {
	*Memory
	left  int
	after bool // the write that is cut still happens: its success is never heard of
}

func (c *cutter) pass(write func() error) error {
	c.left--
	if c.left > 0 {
		return write()
	}
	if c.left == 0 && c.after {
		_ = write()
	}
	return errCut
}

func (c *cutter) Create(path string, content []byte) error {
	return c.pass(func() error { return c.Memory.Create(path, content) })
}
func (c *cutter) Move(from, to string) error {
	return c.pass(func() error { return c.Memory.Move(from, to) })
}
func (c *cutter) Set(key, name string, v Value) error {
	return c.pass(func() error { return c.Memory.Set(key, name, v) })
}
func (c *cutter) Delete(key, name string) error {
	return c.pass(func() error { return c.Memory.Delete(key, name) })
}
func (c *cutter) Stop(ctx context.Context, name string) error {
	return c.pass(func() error { return c.Memory.Stop(ctx, name) })
}
func (c *cutter) Start(ctx context.Context, name string) error {
	return c.pass(func() error { return c.Memory.Start(ctx, name) })
}
func (c *cutter) Run(ctx context.Context, name string, args ...string) (output []string, exit int, err error) {
	if strings.Contains(strings.Join(args, " "), "/enum") {
		return c.Memory.Run(ctx, name, args...)
	}
	err = c.pass(func() error {
		output, exit, err = c.Memory.Run(ctx, name, args...)
		return err
	})
	return output, exit, err
}

func (c *cutter) parts() Parts {
	return Parts{Files: c, Registry: c, Services: c, Tools: c, System: c.Memory}
}

// thorough is a cutter that cuts everything else that changes something, too.
type thorough struct{ *cutter }

func (c thorough) Remove(path string) error {
	return c.pass(func() error { return c.Memory.Remove(path) })
}

func (c thorough) MakeKey(key string) error {
	return c.pass(func() error { return c.Memory.MakeKey(key) })
}

func (c thorough) RemoveKey(key string) error {
	return c.pass(func() error { return c.Memory.RemoveKey(key) })
}

func (c thorough) Mark(path string, marks Marks) error {
	return c.pass(func() error { return c.Memory.Mark(path, marks) })
}

func (c thorough) Own(folder string) error {
	return c.pass(func() error { return c.Memory.Own(folder) })
}

// SetStart reaches the registry, and then the controller.
func (c thorough) SetStart(name string, number int) error {
	if err := c.Set(servicesKey+`\`+name, "Start", Value{"dword", uint64(number)}); err != nil { //nolint:gosec // 2 to 4
		return err
	}
	return c.pass(func() error { return c.Memory.SetStart(name, number) })
}

func (c thorough) parts() Parts {
	return Parts{Files: c, Registry: c, Services: c, Tools: c, System: c.Memory}
}

// stateOf describes a machine without what is ours.
func stateOf(m *Memory) string {
	var lines []string
	for _, f := range m.Snapshot() {
		if !ours("", f.Path) {
			lines = append(lines, fmt.Sprint(f.Path, string(f.Content), f.Modified))
		}
	}
	lines = append(lines, registryLines(m)...)
	for _, name := range slices.Sorted(maps.Keys(m.over.services)) {
		state, _ := m.ServiceState(name)
		lines = append(lines, fmt.Sprint(name, " ", state, " ", m.ControllerStart(name)))
	}
	raw, _ := json.Marshal(m.BCD())
	return strings.Join(append(lines, string(raw)), "\n")
}

// cutCase asks one machine after the other of a case.
type cutCase struct {
	*testing.T
	Case
	before, fixed string
	want          agent.Result
}

func (c *cutCase) fresh() *Memory {
	var called []string
	m := newCaseMachine(c, c.Before, &called)
	m.Clock = func() time.Time { return time.Unix(1_800_000_000, 0) }
	if c.Before.SCM == nil { // the controller remembers what the machine started with
		m.ReadStarts()
	}
	return m
}

func (c *cutCase) ask(parts Parts, mode agent.Mode) agent.Result {
	parts.Patience = time.Millisecond
	return New(parts).Do(context.Background(), agent.Request{Run: "r-1", Nonce: "n", Mode: mode, Root: c.Root, Playbook: c.Playbook})
}

// whole reports whether the case is of a fix that can be taken back.
func (c *cutCase) whole() bool {
	m := c.fresh()
	c.before = stateOf(m)
	c.want = c.ask(m.Parts(), agent.Fix)
	c.fixed = stateOf(m)
	return c.want.Outcome == agent.Fixed && c.ask(m.Parts(), agent.Undo).Outcome == agent.Undone && stateOf(m) == c.before
}

func (c *cutCase) undone(m *Memory, label string) {
	if got := c.ask(m.Parts(), agent.Undo); got.Outcome != agent.Undone || stateOf(m) != c.before {
		c.Errorf("%s: %+v\n%s\nnot\n%s", label, got, stateOf(m), c.before)
	}
}

func (c *cutCase) cutFix(n int, after bool) (cut bool) {
	m := c.fresh()
	if c.ask(thorough{&cutter{m, n, after}}.parts(), agent.Fix).Outcome == agent.Fixed {
		return false
	}
	backed := c.fresh()
	c.ask(thorough{&cutter{backed, n, after}}.parts(), agent.Fix)
	label := fmt.Sprintf("fix cut at write %d (done: %v), then ", n, after)
	c.undone(backed, label+"undo")
	got := c.ask(m.Parts(), agent.Fix)
	if got.Outcome != agent.Fixed || got.Changed != c.want.Changed || stateOf(m) != c.fixed {
		c.Errorf("%sagain: %+v\n%s\nnot\n%s", label, got, stateOf(m), c.fixed)
	}
	c.undone(m, label+"again, undo")
	return true
}

func (c *cutCase) cutUndo(n int, after bool) (cut bool) {
	m := c.fresh()
	c.ask(m.Parts(), agent.Fix)
	if c.ask(thorough{&cutter{m, n, after}}.parts(), agent.Undo).Outcome == agent.Undone {
		return false
	}
	c.undone(m, fmt.Sprintf("undo cut at write %d (done: %v), then again", n, after))
	return true
}

// TestCutAnywhere cuts fix and undo of every case at every write, before and after it, and asks again.
func TestCutAnywhere(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(caseFolder, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, path := range paths {
		c := &cutCase{T: t, Case: loadCase(t, path)}
		if !c.whole() {
			continue
		}
		tried++
		t.Run(strings.TrimSuffix(filepath.Base(path), ".json"), func(t *testing.T) {
			c.T = t
			for _, after := range []bool{false, true} {
				for n := 1; c.cutFix(n, after); n++ { //nolint:revive // its body is its condition
				}
				for n := 1; c.cutUndo(n, after); n++ { //nolint:revive // its body is its condition
				}
			}
		})
	}
	if tried < 50 {
		t.Errorf("only %d cases are of a fix that can be taken back", tried)
	}
}

func TestRestartAlreadyScheduled(t *testing.T) {
	m := NewMemory(NewBase(22631))
	c := loadCase(t, filepath.Join(caseFolder, "reboot-always.json"))
	request := agent.Request{Run: "r-1", Nonce: "n", Mode: agent.Fix, Playbook: c.Playbook}
	if _, exit, err := m.Run(context.Background(), "shutdown.exe", "/r"); exit != 0 || err != nil {
		t.Fatal(exit, err)
	}
	if got := New(m.Parts()).Do(context.Background(), request); got.Reboot != "scheduled" || got.Message != "" {
		t.Errorf("exit code 1190: %+v", got)
	}
}

func TestBadRequests(t *testing.T) {
	m := NewMemory(NewBase(1))
	for _, r := range []agent.Request{{Run: `..\x`, Mode: agent.Fix}, {Run: "r", Mode: "FIX"}, {Run: "r"}} {
		if got := New(m.Parts()).Do(context.Background(), r); got.Outcome != agent.Failed || got.Message == "" {
			t.Errorf("%+v: %+v", r, got)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c := loadCase(t, filepath.Join(caseFolder, "put-new.json"))
	got := New(m.Parts()).Do(ctx, agent.Request{Run: "r", Mode: agent.Fix, Playbook: c.Playbook})
	if got.Outcome != agent.Failed || len(m.Snapshot()) != 0 {
		t.Errorf("cancelled: %+v", got)
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{{"*", "", true}, {"a*b*c", "aXbYbc", true}, {"a*b*c", "aXbY", false}, {"?", "", false}, {"ä?", "ÄX", true}, {"*.sys", "a.sysx", false}, {"[a]", "a", false}, {"**x", "x", true}} {
		if match(c.pattern, c.name) != c.want {
			t.Errorf("match(%q, %q) is not %v", c.pattern, c.name, c.want)
		}
	}
	if !reflect.DeepEqual(unguard(guard([]string{"", "=", "a"})), []string{"", "=", "a"}) {
		t.Error("guard is not undone")
	}
}
