package windows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

var scriptKind = stepKind{
	name:   "script",
	target: func(a playbook.Action) string { return a.Script.Shell },
	ahead: func(r *run, a playbook.Action) error {
		if err := r.scriptFits(a.Script.Shell, a.Script.Body, a.Script.Args); err != nil {
			return err
		}
		return r.scriptFits(a.Script.Shell, a.Script.Undo, a.Script.Args)
	},
	act: func(r *run, a playbook.Action, done *agent.StepDone) (err error) {
		done.Note, err = r.runScript(*a.Script)
		return err
	},
}

var scriptChange = changeKind{name: "script", undo: func(r *run, _ int, u undoRecord) (bool, error) { return r.undoScript(u) }}

var scriptTest = testKind{
	name:  "script",
	words: func(playbook.Condition) string { return "script" },
	holds: func(r *run, c playbook.Condition) (bool, error) {
		output, exit, err := r.script(c.Script.Shell, c.Script.Body, c.Script.Args, c.Script.Timeout)
		want := 0
		if c.ExitCode != nil {
			want = *c.ExitCode
		}
		if isNo := func(code int) bool { return asExit(code) == exit }; err == nil && exit != asExit(want) && len(c.OtherCodes) > 0 && !slices.ContainsFunc(c.OtherCodes, isNo) {
			return false, fmt.Errorf("script ended with %d, which says neither yes nor no: %s", exit, bound(output))
		}
		return exit == asExit(want), err
	},
}

// runScript runs a script step. One that ended well is not run again when the fix is asked again, and its undo is recorded
// once.
func (r *run) runScript(s playbook.Script) (note string, err error) {
	number, again := r.scripts[r.step]
	if !again {
		number = r.records
		u := undoRecord{Action: "script", Target: "script", Shell: s.Shell, Undo: s.Undo, Args: guard(s.Args), Timeout: s.Timeout}
		if err := r.record(u); err != nil {
			return "", err
		}
	}
	var ended struct {
		Code   int    `json:"code"`
		Output string `json:"output"`
	}
	mark := fmt.Sprintf("done-%04d.json", number)
	if found, err := r.read(mark, "output", &ended); err != nil || found {
		return strings.TrimPrefix(ended.Output, "="), err
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
	if !slices.ContainsFunc(ok, func(code int) bool { return asExit(code) == exit }) {
		return note, fmt.Errorf("script ended with %d: %s", exit, note)
	}
	ended.Code, ended.Output = exit, "="+note
	return note, r.write(mark, ended)
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

// asExit is an exit code as Windows hands it over: what is written as 3221225481, 0xC0000009, is -1073741815.
func asExit(code int) int { return int(int32(code)) } //nolint:gosec // its 32 bits are meant

// script runs a body within its time.
func (r *run) script(shell, body string, args []string, seconds int) (output string, exit int, err error) {
	if err := r.scriptFits(shell, body, args); err != nil {
		return "", 0, err
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
	for _, end := range []error{ErrNeverRan, ErrThrew} {
		if errors.Is(err, end) {
			return output, exit, fmt.Errorf("%w: %s", end, bound(output))
		}
	}
	if err != nil {
		return output, exit, fmt.Errorf("run script: %w", err)
	}
	return output, exit, nil
}

// scriptFits refuses a script that cannot run here.
func (r *run) scriptFits(shell, body string, args []string) error {
	switch {
	case shell != "powershell" && shell != "cmd":
		return fmt.Errorf("unknown shell '%s'", shell)
	case r.Tools == nil || r.request.Root != "":
		return errors.New("not possible on an offline installation: script")
	case shell == "cmd":
		return fitsCmd(body, args)
	}
	return r.Tools.Forbids(shell) //nolint:wrapcheck // the words of the agent
}

// fitsCmd refuses what cmd.exe would take for code, or could not read.
func fitsCmd(body string, args []string) error {
	if strings.ContainsFunc(body, func(c rune) bool { return c > 0x7f }) {
		return errors.New("a cmd script can hold ASCII letters only: cmd.exe would read others in another code page; use shell powershell")
	}
	for _, text := range args {
		if strings.ContainsAny(text, "&|<>^%\"!\r\n") {
			return fmt.Errorf("cmd.exe would read the argument '%s' as code: it may not hold & | < > ^ %% \" ! or a new line", text)
		}
	}
	return nil
}
