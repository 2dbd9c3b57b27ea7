package windows

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
	"github.com/fleetmend/fleetmend/remediate/agent"
)

// ErrNotKept is a request that only names the agent, on a machine that has not kept it or cannot prove it. Nothing was done; the
// answer is [agent.Send], and the whole agent comes then.
var ErrNotKept = errors.New("the agent is not kept here")

// Prover proves owner and rights of a file, as [Files].Own does of a folder. Files without it have none to prove.
type Prover interface {
	Prove(path string) error
}

// Answer answers what came on stdin, as bootstrap.ps1 (named: kept.ps1) and agent.ps1 do: it takes the request out, does it, and keeps the
// agent's text under its hash where our folder is, so that later requests need only name it. Errors wrap [agent.ErrStdin] or
// [ErrNotKept]; with both nothing was done.
func (i *Interpreter) Answer(ctx context.Context, stdin []byte, named bool) (agent.Request, agent.Result, error) {
	script, request, err := agent.DecodeStdin(stdin)
	if err != nil {
		return request, agent.Result{}, err
	}
	if named != (script == "") {
		return request, agent.Result{}, fmt.Errorf("the other command starts this agent: %w", agent.ErrStdin)
	}
	if named && i.proveKept() != nil {
		return request, agent.Result{}, ErrNotKept
	}
	result := i.Do(ctx, request)
	if named {
		result.Kept = agent.Digest()
	} else if kept, err := i.keep(request.Root); err != nil {
		result.Note = bound("the agent was not kept on the machine: " + err.Error())
	} else if kept {
		result.Kept = agent.Digest()
	}
	return request, result.Within(request), nil
}

// keptFolders are the folders on the way to the kept agent, the outermost first, and keptPath is its file.
func (i *Interpreter) keptFolders() (top, folder string) {
	top = join(i.parts.System.Variable("ProgramData"), "fleetmend")
	return top, join(top, "agent")
}

func keptName(hash string) string { return hash + ".ps1" }

// proveKept reports why the file is not to be run: it is not there, a link, of others, or not the agent of this build.
func (i *Interpreter) proveKept() error {
	top, folder := i.keptFolders()
	for _, one := range []string{top, folder} {
		if kind, err := i.parts.Files.Look(one); err != nil || kind != Directory {
			return cmpErr(err, ErrNotKept)
		}
		if err := i.parts.Files.Own(one); err != nil {
			return err
		}
	}
	return i.proveFile(join(folder, keptName(agent.Digest())))
}

func (i *Interpreter) proveFile(path string) error {
	if kind, err := i.parts.Files.Look(path); err != nil || kind != File {
		return cmpErr(err, ErrNotKept)
	}
	if p, ok := i.parts.Files.(Prover); ok {
		if err := p.Prove(path); err != nil {
			return err
		}
	}
	f, err := i.parts.Files.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, int64(len(agent.Script()))+1))
	if err != nil {
		return fmt.Errorf("read the kept agent: %w", err)
	}
	if string(raw) != agent.Script() {
		return fmt.Errorf("%s is not as it was written", path)
	}
	return nil
}

// keep is Save-Agent of agent.ps1.
func (i *Interpreter) keep(root string) (kept bool, err error) {
	top, folder := i.keptFolders()
	files := i.parts.Files
	if kind, err := files.Look(top); root != "" || err != nil || kind == Nothing {
		return false, err
	}
	for _, one := range []string{top, folder} {
		if files.Own(one) == nil {
			continue
		}
		if err := files.Own(one); err != nil { // another request may have made it just now
			return false, err
		}
	}
	path := join(folder, keptName(agent.Digest()))
	kind, err := files.Look(path)
	if err != nil {
		return false, err
	}
	if kind != Nothing && i.proveFile(path) != nil {
		if err := files.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, fmt.Errorf("%s stands in its place and cannot be removed", path)
		}
		kind = Nothing
	}
	if kind == Nothing {
		if err := i.writeKept(folder, path); err != nil {
			return false, err
		}
	}
	i.removeOld(folder)
	return true, nil
}

// writeKept writes aside, under a name that no other request has. Of two at once the second finds that the first was quicker.
func (i *Interpreter) writeKept(folder, path string) error {
	aside := join(folder, agent.Nonce()+agent.Nonce()+".new")
	if err := i.parts.Files.Create(aside, []byte(agent.Script())); err != nil {
		return err
	}
	if err := i.parts.Files.Move(aside, path); err != nil {
		_ = i.parts.Files.Remove(aside) // else it goes a day later
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return i.proveFile(path)
}

var (
	keptFile = lazyregexp.New(`^[0-9a-f]{64}\.ps1$`)
	halfFile = lazyregexp.New(`^[0-9a-f]{32}\.new$`)
)

// removeOld leaves the newest two. What a cut has left half written goes a day later. What cannot be removed stays.
func (i *Interpreter) removeOld(folder string) {
	all, err := i.parts.Files.List(folder)
	if err != nil {
		return
	}
	slices.SortStableFunc(all, func(a, b FileInfo) int { return b.Modified.Compare(a.Modified) })
	others := 0
	for _, f := range all {
		switch {
		case halfFile.MatchString(f.Name) && i.parts.Now().Sub(f.Modified) > 24*time.Hour:
		case keptFile.MatchString(f.Name) && f.Name != keptName(agent.Digest()):
			if others++; others == 1 {
				continue
			}
		default:
			continue
		}
		_ = i.parts.Files.Remove(join(folder, f.Name))
	}
}
