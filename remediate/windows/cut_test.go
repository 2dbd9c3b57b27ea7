package windows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
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

// stateOf describes a machine without what is ours.
func stateOf(m *Memory) string {
	var lines []string
	for _, f := range m.Snapshot() {
		if !ours("", f.Path) {
			lines = append(lines, fmt.Sprint(f.Path, string(f.Content), f.Modified))
		}
	}
	lines = append(lines, registryLines(m)...)
	running, _ := m.ServiceState("Spooler")
	raw, _ := json.Marshal(m.BCD())
	return strings.Join(append(lines, fmt.Sprint("Spooler ", running), string(raw)), "\n")
}

// TestCutAnywhere cuts fix and undo at every write, before and after it, and asks again.
func TestCutAnywhere(t *testing.T) {
	for _, name := range []string{"channel-file-affected", "put-replace", "put-new", "registry-set", "service-disable", "bcd-set", "bcd-replace", "order-of-undo"} {
		c := loadCase(t, filepath.Join(caseFolder, name+".json"))
		ask := func(parts Parts, mode agent.Mode) agent.Result {
			return New(parts).Do(context.Background(), agent.Request{Run: "r-1", Nonce: "n", Mode: mode, Playbook: c.Playbook})
		}
		fresh := func() *Memory {
			var called []string
			m := newCaseMachine(t, c.Before, &called)
			m.Clock = func() time.Time { return time.Unix(1_800_000_000, 0) }
			return m
		}
		whole := fresh()
		before := stateOf(whole)
		want := ask(whole.Parts(), agent.Fix)
		fixed := stateOf(whole)
		for _, after := range []bool{false, true} {
			for n := 1; ; n++ {
				label := fmt.Sprintf("%s: fix cut at write %d (done: %v)", name, n, after)
				m := fresh()
				first := ask((&cutter{m, n, after}).parts(), agent.Fix)
				if first.Outcome == agent.Fixed {
					break
				}
				backed := fresh()
				ask((&cutter{backed, n, after}).parts(), agent.Fix)
				if got := ask(backed.Parts(), agent.Undo); got.Outcome != agent.Undone || stateOf(backed) != before {
					t.Errorf("%s, then undo: %+v\n%s\nnot\n%s", label, got, stateOf(backed), before)
				}
				got := ask(m.Parts(), agent.Fix)
				if got.Outcome != agent.Fixed || got.Changed != want.Changed || stateOf(m) != fixed {
					t.Errorf("%s, then again: %+v\n%s\nnot\n%s", label, got, stateOf(m), fixed)
				}
				if got := ask(m.Parts(), agent.Undo); got.Outcome != agent.Undone || stateOf(m) != before {
					t.Errorf("%s, again, undo: %+v\n%s\nnot\n%s", label, got, stateOf(m), before)
				}
			}
			for n := 1; ; n++ {
				m := fresh()
				ask(m.Parts(), agent.Fix)
				if ask((&cutter{m, n, after}).parts(), agent.Undo).Outcome == agent.Undone {
					break
				}
				if got := ask(m.Parts(), agent.Undo); got.Outcome != agent.Undone || stateOf(m) != before {
					t.Errorf("%s: undo cut at write %d (done: %v), then again: %+v\n%s\nnot\n%s", name, n, after, got, stateOf(m), before)
				}
			}
		}
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
