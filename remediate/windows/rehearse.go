package windows

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// Rehearse runs a case through the Go interpreter on a Windows in memory, each request the way it goes on the wire. It
// returns what was not as the case says, one sentence each, and for each step the answer.
func Rehearse(ctx context.Context, c Case) (problems []string, answers []agent.Result) {
	return rehearse(ctx, c, nil)
}

func rehearse(ctx context.Context, c Case, live *liveRegistry) (problems []string, answers []agent.Result) {
	t := &findings{}
	if len(c.Steps) == 0 {
		return []string{"the case has no steps"}, nil
	}
	var called []string
	m := newCaseMachine(t, c.Before, &called)
	for n, s := range c.Steps {
		apply(t, m, s.Change)
		run := s.Run
		if run == "" {
			run = "r-1"
		}
		// The request goes the way it goes on the wire.
		request := agent.Request{Run: run, Nonce: "n-1", Mode: s.Mode, Root: c.Root, Playbook: c.Playbook, Record: s.Record, Room: s.Room}
		p := parts(m)
		if live != nil {
			live.write(t, m)
			p.Registry = live.LiveRegistry
		}
		result, err := ask(ctx, New(p), request, s.Agent)
		if err != nil {
			return append(t.said, fmt.Sprintf("step %d, %s: %v", n+1, s.Mode, err)), answers
		}
		if decoded, err := agent.Decode([]byte(strings.Join(agent.Lines("n-1", result), "\n")), "n-1"); err == nil {
			result = decoded
		} else if !errors.Is(err, agent.ErrBusy) {
			return append(t.said, fmt.Sprintf("step %d, %s: %v", n+1, s.Mode, err)), answers
		}
		if live != nil {
			live.read(t, m, c)
		}
		label := fmt.Sprintf("step %d, %s", n+1, s.Mode)
		compareResult(t, label, s, result)
		compareMachine(t, label, c.Root, s, m, called)
		answers = append(answers, result)
	}
	return t.said, answers
}

// ask hands a request over as a route does.
func ask(ctx context.Context, i *Interpreter, request agent.Request, way string) (agent.Result, error) {
	encode := agent.Encode
	switch way {
	case "":
	case "named", "asked":
		encode = agent.EncodeKept
	default:
		return agent.Result{}, fmt.Errorf("agent is '%s', not named or asked", way)
	}
	stdin, err := encode(request)
	if err != nil {
		return agent.Result{}, err
	}
	_, result, err := i.Answer(ctx, stdin, way != "")
	if way != "asked" {
		return result, err
	}
	if !errors.Is(err, ErrNotKept) {
		return agent.Result{}, fmt.Errorf("the machine does not ask for the agent: %+v, %w", result, err)
	}
	return ask(ctx, i, request, "")
}

// parts are a machine's, with little patience for what never ends.
func parts(m *Memory) Parts {
	p := m.Parts()
	p.Patience = 200 * time.Millisecond
	return p
}

func newCaseMachine(t reporter, before CaseState, called *[]string) *Memory {
	m := NewMemory(NewBase(0))
	m.OnTool = func(name string, args []string) ([]string, int, bool) {
		line := strings.Join(append([]string{name}, args...), " ")
		*called = append(*called, line)
		answers, ok := before.Tools[name]
		if !ok {
			if name == "bcdedit.exe" && before.BCD != nil {
				return nil, 0, false
			}
			return []string{"no such tool"}, 9009, true
		}
		for _, a := range answers {
			if name+" "+a.Arguments == line {
				return a.Output, a.Exit, true
			}
		}
		return []string{"unexpected"}, 99, true
	}
	m.OnScript = func(ctx context.Context, _, body string, args []string) (string, int, error) {
		for _, s := range before.Scripts {
			if s.Body != body {
				continue
			}
			if s.Hangs {
				<-ctx.Done()
				return s.Output, -1, ctx.Err()
			}
			apply(t, m, CaseState{Files: s.Files, Remove: s.Remove})
			switch s.Ends {
			case "":
			case "never":
				return s.Output, -1, ErrNeverRan
			case "error":
				return s.Output, -1, ErrThrew
			default:
				t.Errorf("a script ends with 'never' or 'error', not '%s'", s.Ends)
			}
			return s.Output, s.Exit, nil
		}
		t.Errorf("the case does not say what this script does: %q", body)
		return "", 0, errNoScript
	}
	apply(t, m, before)
	return m
}

func apply(t reporter, m *Memory, s CaseState) {
	for _, f := range s.Files {
		raw, err := hex.DecodeString(f.Hex)
		if err != nil {
			t.Errorf("%s: %v", f.Path, err)
		}
		m.WriteFile(f.Path, raw, f.Modified)
	}
	for _, path := range s.Remove {
		m.RemoveFile(path)
	}
	for _, one := range s.Move {
		m.MoveAll(one.From, one.To)
	}
	for _, path := range s.Damage {
		m.Damage(path)
	}
	for key, values := range s.Registry {
		if len(values) == 0 {
			m.SetValue(key, "x", Value{})
			_ = m.Delete(key, "x")
		}
		for name, v := range values {
			if v == nil {
				_ = m.Delete(key, valueName(name))
				continue
			}
			m.SetValue(key, valueName(name), caseValue(t, v))
		}
	}
	for folder, sddl := range s.SDDL {
		m.SetRights(folder, sddl)
	}
	for _, link := range s.Links {
		m.SetLink(link.Path, link.To)
	}
	applyServices(t, m, s)
	for name, value := range s.BCD {
		m.SetBCD(name, value)
	}
	for name, value := range s.OtherBCD {
		m.SetOtherBCD(name, value)
	}
	if s.Plus.WMIHangs {
		m.Booted = time.Time{} // nobody can say
	} else if s.Uptime != nil {
		m.Booted = time.Now().Add(-time.Duration(*s.Uptime) * time.Second)
	}
}

// serviceWords are a case's words for the states of a service: two plain ones, and Windows' own.
var serviceWords = map[string]string{
	"stopped": StateStopped, "running": StateRunning, StatePaused: StatePaused, StateStartPending: StateStartPending,
	StateStopPending: StateStopPending, StateContinuePending: StateContinuePending, StatePausePending: StatePausePending,
}

func applyServices(t reporter, m *Memory, s CaseState) {
	for name, word := range s.Services {
		state, ok := serviceWords[word]
		if !ok {
			t.Errorf("unknown state '%s' of service %s", word, name)
		}
		m.SetServiceState(name, state)
	}
	if s.Dependents != nil {
		m.Below = s.Dependents
	}
	for name, number := range s.SCM {
		m.SetControllerStart(name, number)
	}
	if s.Booted {
		m.ReadStarts()
	}
	m.NeverStarts = s.Plus.NeverStarts
	if s.Plus.NeverStops != "" {
		m.NeverStops = s.Plus.NeverStops
	}
	if s.Plus.Locked != nil {
		m.Locked = s.Plus.Locked
	}
	if s.Plus.Meanwhile != "" {
		m.Meanwhile = s.Plus.Meanwhile
	}
	if s.Plus.InUse != nil {
		m.InUse = s.Plus.InUse
	}
	for _, f := range s.Files {
		if strings.HasPrefix(fold(f.Path), `D:\WINDOWS\`) {
			m.SystemDrive = "D:"
		}
	}
}

// valueName: a JSON object of PowerShell cannot have an empty name, so the cases call the default value as it does.
func valueName(name string) string {
	if name == "(default)" {
		return ""
	}
	return name
}

// caseValue reads a registry value of a case: a number, a text, a list of texts, {type, value} or {type, hex}.
func caseValue(t reporter, v any) Value {
	kind, given := "", v
	if typed, ok := v.(map[string]any); ok {
		kind, given = fmt.Sprint(typed["type"]), typed["value"]
		text, isBytes := typed["hex"].(string)
		switch {
		case len(typed) != 2 || typed["type"] == nil || given == nil && !isBytes:
			t.Errorf("value %v: must have type, and value or hex", v)
		case isBytes:
			return caseBytes(t, kind, text)
		case !slices.Contains([]string{"string", "expand-string", "multi-string", "dword", "qword"}, kind):
			return caseBytes(t, kind, fmt.Sprint(given))
		}
	}
	d, err := newData(kind, given)
	if err != nil {
		t.Errorf("value %v: %v", v, err)
		return Value{}
	}
	value, err := d.value()
	if err != nil {
		t.Errorf("value %v: %v", v, err)
		return Value{}
	}
	return value
}

func caseBytes(t reporter, kind, text string) Value {
	raw, err := hex.DecodeString(text)
	number, known := typeNumber(kind)
	if err != nil || !known {
		t.Errorf("value of type %s: %q (%v)", kind, text, err)
	}
	return DecodeValue(number, raw)
}

// Rehearsed is how one case went.
type Rehearsed struct {
	Case     string         `json:"case"` // name of the file without its ending
	OK       bool           `json:"ok"`
	Problems []string       `json:"problems"`
	Answers  []agent.Result `json:"answers"`
}

// Rehearsals are how several cases went.
type Rehearsals []Rehearsed

// RehearseFiles runs a playbook on the cases of files, in the place of the playbooks that stand in them.
func RehearseFiles(ctx context.Context, p playbook.Playbook, files []string) (Rehearsals, error) {
	var all Rehearsals
	for _, file := range files {
		data, err := textfile.Read(file, 16<<20)
		if err != nil {
			return nil, err
		}
		parsed, err := ParseCase([]byte(data.Content))
		if err != nil {
			return nil, hint.Wrap(fmt.Errorf("%s: %w", file, err), "docs/playbooks-cases.md describes the form of a case")
		}
		parsed.Playbook = p
		problems, answers := Rehearse(ctx, parsed)
		all = append(all, Rehearsed{strings.TrimSuffix(filepath.Base(file), ".json"), len(problems) == 0, problems, answers})
	}
	return all, nil
}

// Failed counts the cases that did not go as they say.
func (all Rehearsals) Failed() (n int) {
	for _, r := range all {
		if !r.OK {
			n++
		}
	}
	return n
}

// Text is a line for each case, with what was not as it says below it, and the sum.
func (all Rehearsals) Text() string {
	var b strings.Builder
	for _, r := range all {
		word := "ok  "
		if !r.OK {
			word = "FAIL"
		}
		fmt.Fprintf(&b, "%s %s\n", word, r.Case)
		for _, p := range r.Problems {
			fmt.Fprintln(&b, "     "+strings.ReplaceAll(p, "\n", "\n     "))
		}
	}
	fmt.Fprintf(&b, "%d passed, %d failed\n", len(all)-all.Failed(), all.Failed())
	return b.String()
}
