package windows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

var scriptKind = stepKind{
	name:   "script",
	target: func(a playbook.Action) string { return a.Script.Shell },
	act: func(r *run, a playbook.Action, done *agent.StepDone) (err error) {
		done.Note, err = r.runScript(*a.Script)
		return err
	},
}

var scriptChange = changeKind{"script", func(r *run, _ int, u undoRecord) (bool, error) { return r.undoScript(u) }}

var scriptTest = testKind{
	name:  "script",
	words: func(playbook.Condition) string { return "script" },
	holds: func(r *run, c playbook.Condition) (bool, error) {
		_, exit, err := r.script(c.Script.Shell, c.Script.Body, c.Script.Args, c.Script.Timeout)
		want := 0
		if c.ExitCode != nil {
			want = *c.ExitCode
		}
		return exit == want, err
	},
}

func (r *run) runScript(s playbook.Script) (note string, err error) {
	u := undoRecord{Action: "script", Target: "script", Shell: s.Shell, Undo: s.Undo, Args: guard(s.Args), Timeout: s.Timeout}
	if err := r.record(u); err != nil {
		return "", err
	}
	output, exit, err := r.script(s.Shell, s.Body, s.Args, s.Timeout)
	note = bound(output)
	if err != nil {
		return note, err
	}
	ok := s.OK
	if len(ok) == 0 {
		ok = []int{0}
	}
	if !slices.Contains(ok, exit) {
		return note, fmt.Errorf("script ended with %d: %s", exit, note)
	}
	return note, nil
}

func (r *run) undoScript(u undoRecord) (bool, error) {
	if u.Undo == "" {
		return false, nil
	}
	output, exit, err := r.script(u.Shell, u.Undo, unguard(u.Args), u.Timeout)
	if err != nil {
		return false, err
	}
	if exit != 0 {
		return false, fmt.Errorf("undo script ended with %d: %s", exit, bound(output))
	}
	return true, nil
}

// script runs a body within its time.
func (r *run) script(shell, body string, args []string, seconds int) (output string, exit int, err error) {
	if shell != "powershell" && shell != "cmd" {
		return "", 0, fmt.Errorf("unknown shell '%s'", shell)
	}
	if r.Tools == nil || r.request.Root != "" {
		return "", 0, errors.New("not possible on an offline installation: script")
	}
	if seconds <= 0 {
		seconds = 300
	}
	ctx, cancel := context.WithTimeout(r.ctx, time.Duration(seconds)*time.Second)
	defer cancel()
	output, exit, err = r.Tools.Script(ctx, shell, body, args)
	if errors.Is(err, context.DeadlineExceeded) && r.ctx.Err() == nil {
		return output, exit, fmt.Errorf("script was stopped after %d seconds: %s", seconds, bound(output))
	}
	if err != nil {
		return output, exit, fmt.Errorf("run script: %w", err)
	}
	return output, exit, nil
}
