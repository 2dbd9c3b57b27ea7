package windows

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
	"github.com/fleetmend/fleetmend/remediate/agent"
)

// Parts is what an [Interpreter] works on. Files and System must be given; a playbook that needs a part that is nil
// fails and says so (an offline installation has no services, for example).
type Parts struct {
	Files    Files
	Registry Registry
	Services Services
	Tools    Tools
	System   System
	Now      func() time.Time // time.Now when nil
	// Process is who works, for the lock of a run; this process when its PID is 0.
	Process Process
	// BootEntry is the boot entry to work on; "" for that of the Windows that runs. An offline installation names {default}.
	BootEntry string
	// Patience bounds the wait for one service; half a minute when 0.
	Patience time.Duration
}

// Interpreter answers requests on one Windows. It keeps nothing between two requests: all memory is in the run's folder
// on the machine. Of two requests of one run at once, the second is answered with busy.
type Interpreter struct{ parts Parts }

// New returns an interpreter on the parts.
func New(parts Parts) *Interpreter {
	if parts.Now == nil {
		parts.Now = time.Now
	}
	if parts.Process.PID == 0 {
		parts.Process = ownProcess()
	}
	if parts.Patience == 0 {
		parts.Patience = 30 * time.Second
	}
	return &Interpreter{parts}
}

// Do answers a request as agent.ps1 does. Whatever goes wrong becomes a result with outcome failed and a message; what
// was done until then stands in the run's folder, and the same request again continues there.
func (i *Interpreter) Do(ctx context.Context, request agent.Request) agent.Result {
	r := &run{Parts: i.parts, ctx: ctx, request: request, counted: map[string]int{}, scripts: map[int]int{}, seals: map[int]string{}}
	result := agent.Result{V: agent.ResultVersion, Run: request.Run, Outcome: agent.Failed, Uptime: -1, PS: "go", Language: "go"}
	if !agent.ValidRun(request.Run) {
		result.Run, result.Message = "", "bad run id"
		return result
	}
	if err := r.answer(&result); err != nil {
		result.Outcome, result.Message = agent.Failed, bound(err.Error())
		result.Steps, result.Changed = r.steps, len(r.counted)
	}
	return result.Within(request)
}

// run is one request being answered.
type run struct {
	Parts
	ctx     context.Context
	request agent.Request
	data    string // %ProgramData% of the Windows under repair
	folder  string // of this run

	records int            // undo records in the folder
	step    int            // index of the action at work
	counted map[string]int // "step|target" that this run changed, with the step
	scripts map[int]int    // number of a step's script record, by the step
	seals   map[int]string // hash of a record when it was written, by its number
	steps   []agent.StepDone
	remarks []string
	locked  bool
}

func (r *run) answer(result *agent.Result) error {
	if uptime, err := r.System.Uptime(); err == nil && r.request.Root == "" {
		result.Uptime = uptime
	}
	r.data = r.System.Variable("ProgramData")
	if r.request.Root != "" {
		r.data = join(r.request.Root, "ProgramData")
	}
	if strings.TrimSpace(r.data) == "" {
		return errors.New("%ProgramData% is not set")
	}
	r.folder = join(r.data, "fleetmend", "runs", r.request.Run)
	switch r.request.Mode {
	case agent.Detect:
		if r.isBusy(result) {
			return nil
		}
		ok, _, err := r.all(r.request.Playbook.Detect)
		if err != nil {
			return err
		}
		result.Outcome = agent.Clean
		if ok {
			result.Outcome = agent.Affected
		}
		return nil
	case agent.Verify:
		if r.isBusy(result) {
			return nil
		}
		ok, words, err := r.all(r.request.Playbook.Verify)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("verify does not hold: %s", words)
		}
		result.Outcome = agent.Fixed
		return nil
	case agent.Fix:
		return r.acting(result, r.fix)
	case agent.Undo:
		return r.acting(result, r.undo)
	}
	return fmt.Errorf("unknown mode '%s'", r.request.Mode)
}

// own lists the folders on the way to the run's, from the outside.
func (r *run) own() []string {
	return []string{join(r.data, "fleetmend"), join(r.data, "fleetmend", "runs"), r.folder}
}

// confirm proves what is there of the way to the run's folder, because what is read there is obeyed: ordinary users may
// write below ProgramData. It reports whether all of it is there.
func (r *run) confirm() (bool, error) {
	for _, folder := range r.own() {
		kind, err := r.Files.Look(folder)
		switch {
		case err != nil:
			return false, fmt.Errorf("look for %s: %w", folder, err)
		case kind == Nothing:
			return false, nil
		case kind == Link:
			return false, fmt.Errorf("%s is a link: refused", folder)
		case kind == File:
			return false, fmt.Errorf("%s is no folder: refused", folder)
		}
		if err := r.Files.Own(folder); err != nil {
			return false, err
		}
	}
	return true, nil
}

func (r *run) makeFolder() error {
	for _, folder := range r.own() {
		if err := r.Files.Own(folder); err != nil {
			return err
		}
	}
	return nil
}

// isBusy reports whether another request changes the machine now: a look would be of neither state. A lock in a folder that
// is not ours holds nobody.
func (r *run) isBusy(result *agent.Result) bool {
	if there, err := r.confirm(); err != nil || !there {
		return false
	}
	other, _, err := r.held()
	if err != nil || other == nil {
		return false
	}
	busy(result, *other)
	return true
}

// acting takes the lock for a request that changes the machine, and says by one hash what was recorded.
func (r *run) acting(result *agent.Result, act func(*agent.Result) (restart bool, err error)) error {
	there, err := r.confirm()
	if err != nil {
		return err
	}
	if there {
		if ok, err := r.enter(result); err != nil || !ok {
			return err
		}
	}
	defer r.leave()
	err = r.once(result, act)
	if r.request.Mode == agent.Fix && r.locked {
		if total, look := r.total(); look == nil {
			result.Record, _ = r.recordHash(total) // "" says that nothing can be said
		}
	}
	return err
}

// once answers from the record of this mode, or acts, records, and then restarts where that is wanted.
func (r *run) once(result *agent.Result, act func(*agent.Result) (restart bool, err error)) error {
	name := string(r.request.Mode) + ".json"
	var old outcome
	found, err := r.read(name, "outcome", &old)
	if err != nil {
		return err
	}
	if found {
		return r.repeat(result, old)
	}
	restart, err := act(result)
	if err != nil {
		return err
	}
	if result.Outcome != agent.Fixed && result.Outcome != agent.Undone {
		return nil // nothing was begun, nothing is kept
	}
	begun, err := r.exists(join(r.folder, "manifest.json"))
	if err != nil {
		return err
	}
	if begun {
		total, err := r.total()
		if err != nil {
			return err
		}
		record := outcome{result.Run, result.Outcome, result.Changed, result.Message, result.Steps, restart, r.Now().Unix(), result.Uptime, total}
		if err := r.write(name, record); err != nil {
			return err
		}
	}
	if restart {
		return r.restart(result)
	}
	return nil
}

// repeat answers from the record; an undo looks whether it is still so.
func (r *run) repeat(result *agent.Result, old outcome) error {
	result.Outcome, result.Changed, result.Message, result.Steps = old.Outcome, old.Changed, old.Message, old.Steps
	result.Repeated = true
	if r.request.Mode == agent.Fix {
		taken, err := r.exists(join(r.folder, "undoing.json"))
		if err != nil {
			return err
		}
		if taken {
			result.Message = "this run was taken back since"
			return nil
		}
	} else {
		total, err := r.total()
		if err != nil {
			return err
		}
		marked := map[int]bool{}
		for n := range total {
			marked[n] = true
		}
		lost, err := r.lost(total, marked)
		if err != nil {
			return err
		}
		if len(lost) > 0 {
			result.Outcome, result.Message = agent.Failed, bound(strings.Join(lost, "; "))
			return nil
		}
	}
	if old.Restart && r.restartMissing(old, result.Uptime) {
		return r.restart(result)
	}
	return nil
}

// restartMissing reports whether a restart that a record wants has not happened: it was never scheduled, or the machine
// has been up since before it. Where the uptime is unknown a restart that was scheduled is taken as done.
func (r *run) restartMissing(old outcome, uptime int64) bool {
	scheduled, err := r.exists(join(r.folder, string(r.request.Mode)+"-restart.json"))
	if err != nil {
		return false
	}
	if uptime < 0 || old.Uptime < 0 {
		return !scheduled
	}
	const slack = 5 // seconds; the two clocks are read one after the other
	return uptime >= old.Uptime && uptime >= old.Uptime+r.Now().Unix()-old.Time-slack
}

// restart schedules a restart in ten seconds, so that the answer still gets out.
func (r *run) restart(result *agent.Result) error {
	output, exit, err := r.tool("shutdown.exe", "/r", "/t", "10", "/d", "p:2:4", "/c", "fleetmend "+r.request.Run)
	if err != nil {
		result.Message = bound("restart refused: " + err.Error())
		return nil
	}
	const alreadyScheduled, goingDown = 1190, 1115
	if exit != 0 && exit != alreadyScheduled && exit != goingDown {
		result.Message = bound(fmt.Sprintf("restart refused: shutdown.exe ended with %d: %s", exit, strings.Join(output, " ")))
		return nil
	}
	result.Reboot = "scheduled"
	name := string(r.request.Mode) + "-restart.json"
	if there, err := r.exists(join(r.folder, name)); err == nil && !there {
		_ = r.write(name, map[string]int64{"time": r.Now().Unix()}) // only a mark: without it the restart is asked for again
	}
	return nil
}

func (r *run) fix(result *agent.Result) (restart bool, err error) {
	p := r.request.Playbook
	var begun manifest
	found, err := r.read("manifest.json", "run", &begun)
	if err != nil {
		return false, err
	}
	if found && !r.locked { // another request has begun just now
		busy(result, lock{})
		return false, nil
	}
	if found {
		// Cut off in the middle: detect may not hold any more, but the rest of the work is still to be done.
		if taken, err := r.exists(join(r.folder, "undoing.json")); err != nil || taken {
			return false, cmpErr(err, errors.New("this run was taken back: use a new run"))
		}
		if err := r.recount(); err != nil {
			return false, err
		}
	} else {
		ok, _, err := r.all(p.Detect)
		if err != nil {
			return false, err
		}
		if !ok {
			result.Outcome = agent.Clean
			return false, r.notBegun(result)
		}
		if err := r.ahead(p.Fix); err != nil {
			return false, err
		}
		if err := r.makeFolder(); err != nil {
			return false, err
		}
		if ok, err := r.enter(result); err != nil || !ok {
			return false, err
		}
		// Another request may have been quicker: it is answered from the record when it is asked again.
		if quicker, err := r.exists(join(r.folder, "manifest.json")); err != nil {
			return false, err
		} else if quicker {
			busy(result, lock{})
			return false, nil
		}
		if total, err := r.total(); err != nil {
			return false, err
		} else if total > 0 {
			return false, errors.New("there are records of this run, and no manifest.json: use a new run")
		}
		begun = manifest{1, r.request.Run, p.Name, string(p.Reboot), "go", r.Now().Unix(), result.Uptime}
		if err := r.write("manifest.json", begun); err != nil {
			return false, err
		}
	}
	for n, action := range p.Fix {
		if err := r.ctx.Err(); err != nil {
			return false, fmt.Errorf("stopped: %w", err)
		}
		r.step = n
		if err := r.act(action); err != nil && !r.letBe(action, err) {
			return false, err
		}
	}
	result.Changed, result.Steps = len(r.counted), r.steps
	restart = p.Reboot == "always" || p.Reboot == "if-fixed" && result.Changed > 0
	ok, words, err := r.all(p.Verify)
	if err != nil {
		return false, err
	}
	if !ok && !restart {
		return false, fmt.Errorf("verify does not hold after the fix: %s", words)
	}
	if !ok {
		r.remarks = append(r.remarks, "verify does not hold before the restart: "+words)
	}
	result.Message = bound(strings.Join(r.remarks, "; "))
	result.Outcome = agent.Fixed
	return restart, nil
}

func cmpErr(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

var (
	variable = lazyregexp.New(`%([^%]+)%`)
	drive    = lazyregexp.New(`^[A-Za-z]:\\.`)
)
