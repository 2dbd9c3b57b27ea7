package winrm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/lazyregexp"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// The exit codes that tell what became of the envelope: the first four are the bootstrap's own, the last is cmd.exe's
// for a program that it cannot find.
const (
	exitNoEnvelope  = 90
	exitCutEnvelope = 91
	exitNotKept     = 92
	exitTooOld      = 93
	exitNotFound    = 9009
)

// What Windows and .NET end a process with, by what it means for a request.
var (
	// It never began: the machine has no memory left for a process.
	exitNotBegun = []uint32{0xc0000142, 0xc000012d, 0xc0000017}
	// It was in the middle of something: no memory left, a stack that is full, a fault of its own.
	exitCrashed = []uint32{0xe0434352, 0x80131623, 0x80131506, 0x8007000e, 0xc00000fd, 0xc0000005, 0xc0000409}
)

// Do carries one request to the agent on a machine and returns its answer. Success is the machine's word that the command
// ended, together with a whole result that bears the request's nonce. Where the machine has kept the agent, as its last answer said, the
// request only names it; a machine that cannot prove what it has kept does nothing and asks for the whole, which it gets at once.
func (r *Route) Do(ctx context.Context, t route.Target, request agent.Request) (agent.Result, error) {
	named := request.Kept
	if said, known := r.kept.Load(t.ID); known {
		named, _ = said.(bool)
	}
	if err := request.Check(); err != nil {
		return agent.Result{}, refused(t.Name, err)
	}
	if named {
		out, err := r.run(ctx, t, agent.KeptCommandLine(), func(b []byte) ([]byte, error) { return agent.AppendEncodeKept(b, request) })
		if err != nil || out.ExitCode != exitNotKept || !agent.Wanted(out.Stdout) {
			return r.result(t, request, out, err)
		}
		r.config.Logger.Debug("the agent is sent again", "machine", t.Name)
	}
	out, err := r.run(ctx, t, agent.CommandLine(), func(b []byte) ([]byte, error) { return agent.AppendEncode(b, request) })
	return r.result(t, request, out, err)
}

func refused(target string, err error) *route.Error {
	return &route.Error{Class: route.Refused, Op: opCommand, Target: target, Err: err}
}

// result reads what Run brought, and remembers what the machine has kept.
func (r *Route) result(t route.Target, request agent.Request, out Output, err error) (agent.Result, error) {
	if err != nil && !errors.Is(err, errTooMuch) {
		return agent.Result{}, err
	}
	result, decodeErr := agent.Decode(out.Stdout, request.Nonce)
	switch {
	case decodeErr != nil && err != nil:
		return agent.Result{}, err
	case decodeErr != nil:
		return agent.Result{}, noResult(t.Name, out, decodeErr)
	case err != nil: // the result may have come before the flood
		r.config.Logger.Warn("output cut after the result", "machine", t.Name, "limit", r.config.MaxOutput)
	}
	r.kept.Store(t.ID, result.Kept == agent.Digest())
	if result.Note != "" {
		r.config.Logger.Debug(result.Note, "machine", t.Name)
	}
	return result, nil
}

// noResult explains a command that ended without a result.
func noResult(target string, out Output, err error) *route.Error {
	e := &route.Error{Class: route.Unknown, Op: opReceive, Target: target}
	said := strings.Join(strings.Fields(agent.DecodeCLIXML(string(out.Stderr[:min(len(out.Stderr), 32<<10)]))), " ")
	silent, plain := len(out.Stdout) == 0, len(said) > 0 && !agent.IsCLIXML(string(out.Stderr))
	foreign := errors.Is(err, agent.ErrForeign)
	switch {
	case !foreign && (out.ExitCode == exitNoEnvelope || out.ExitCode == exitCutEnvelope):
		e.Class = route.Unreachable
		e.Err = hint.Wrap(fmt.Errorf("the request reached PowerShell incomplete (exit code %d), so nothing was done", out.ExitCode),
			"the run tries again; if it stays so, something on the machine keeps input from PowerShell")
		return e
	case !foreign && out.ExitCode == exitTooOld:
		e.Class = route.Refused
		e.Err = hint.Wrap(fmt.Errorf("the machine has %s, so nothing was done", oldPowerShell(out.Stdout)),
			"Windows PowerShell 5.1 or later is needed: install Windows Management Framework 5.1 there, or use a medium")
		return e
	case errors.Is(err, agent.ErrNoResult) && agent.Blocked(string(out.Stderr)):
		// The whole text is looked at before its first line runs.
		e.Class = route.Refused
		e.Err = hint.Wrap(errors.New("antivirus on the machine blocked the agent, so nothing was done"),
			"allow the agent by its SHA-256 ("+agent.Digest()+") in the antivirus, or use a medium")
		return e
	case errors.Is(err, agent.ErrUnread):
		e.Class = route.Refused
		e.Err = hint.Wrap(fmt.Errorf("%w, so nothing was done", err), "something on the machine or on the way changes what PowerShell reads")
	case errors.Is(err, agent.ErrBusy):
		e.Err = hint.Wrap(err, "the run asks again; what the other request does is answered from the machine's record")
		return e
	case silent && out.ExitCode == exitNotFound:
		e.Class = route.Refused
		e.Err = hint.Wrap(errors.New("PowerShell was not found on the machine (exit code 9009), so nothing was done"),
			"check that powershell.exe is on the machine's path, or use a medium")
	case silent && out.ExitCode == 1 && plain:
		// cmd.exe speaks for itself here: whatever PowerShell writes to stderr is CLIXML.
		e.Class = route.Refused
		e.Err = hint.Wrap(errors.New("PowerShell did not start on the machine, so nothing was done"),
			"a policy (AppLocker, WDAC, software restriction) may block powershell.exe for this account; allow it or use a medium")
	case silent && said == "" && slices.Contains(exitNotBegun, uint32(out.ExitCode)): //nolint:gosec // 32 bits, as the machine has them
		e.Class = route.Busy
		e.Err = hint.Wrap(fmt.Errorf("the machine has no memory left for PowerShell (exit code 0x%X), so nothing was done", uint32(out.ExitCode)), //nolint:gosec // see above
			"the run tries again; if it stays so, end what takes the memory there, or restart the machine")
	case slices.Contains(exitCrashed, uint32(out.ExitCode)) || strings.Contains(said, "OutOfMemoryException"): //nolint:gosec // see above
		e.Err = hint.Wrap(fmt.Errorf("PowerShell crashed on the machine, or had no memory left (exit code 0x%X): %w", uint32(out.ExitCode), err), //nolint:gosec // see above
			"nothing goes on there; the run asks again and the machine answers from its record; if it stays so, restart the machine, then retry the run")
	default:
		e.Err = hint.Wrap(fmt.Errorf("%w (exit code %d)", err, out.ExitCode),
			"what the machine did is not known; the run asks again by run ID and the machine answers from its record")
	}
	if said != "" {
		e.Err = fmt.Errorf("%w; the machine says: %s", e.Err, clip(said, 300))
	}
	return e
}

var tooOld = lazyregexp.New(`(?m)^(?:\x{feff})?fleetmend: (PowerShell [0-9.]{0,40}) is too old\r?$`)

func oldPowerShell(stdout []byte) string {
	if m := tooOld.FindSubmatch(stdout); m != nil {
		return string(m[1])
	}
	return "an older PowerShell"
}
