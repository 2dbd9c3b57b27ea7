package windows

import (
	"crypto/sha256"
	"fmt"

	"github.com/fleetmend/fleetmend/remediate/agent"
)

func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return upperHex(sum[:])
}

// undo takes a run back, the last change first. It stops at the first change that cannot be taken back safely; asked
// again it goes on there.
func (r *run) undo(result *agent.Result) (restart bool, err error) {
	var begun manifest
	found, err := r.read("manifest.json", &begun)
	if err != nil {
		return false, err
	}
	result.Outcome = agent.Undone
	if !found {
		result.Message = "this run changed nothing here"
		return false, nil
	}
	continued, err := r.exists(join(r.folder, "undoing.json"))
	if err != nil {
		return false, err
	}
	if !continued {
		if err := r.write("undoing.json", map[string]int64{"time": r.Now().Unix()}); err != nil {
			return false, err
		}
	}
	records, err := r.undoRecords()
	if err != nil {
		return false, err
	}
	// Services are started at the end, when their start types are back.
	var stopped []string
	for n := len(records) - 1; n >= 0; n-- {
		if err := r.ctx.Err(); err != nil {
			return false, fmt.Errorf("stopped: %w", err)
		}
		u := records[n]
		if u.Action == "stop" {
			stopped = append(stopped, u.Name)
			continue
		}
		changed, err := r.takeBackOnce(n, u)
		if err != nil {
			return false, err
		}
		if changed {
			r.counted[countKey(n, u.Target)] = true
		}
	}
	for _, name := range stopped {
		changed, err := r.startAgain(name)
		if err != nil {
			return false, err
		}
		if changed {
			r.counted[countKey(len(records), name)] = true
		}
	}
	result.Changed = len(r.counted)
	policy := begun.Reboot == "always" || begun.Reboot == "if-fixed"
	return policy && (result.Changed > 0 || continued), nil
}

func (r *run) startAgain(name string) (bool, error) {
	if r.Services == nil {
		return false, nil
	}
	running, ok, err := r.Services.Running(name)
	if err != nil || !ok || running {
		return false, err
	}
	if err := r.Services.Start(r.ctx, name); err != nil {
		return false, fmt.Errorf("start service %q: %w", name, err)
	}
	return true, nil
}

// takeBackOnce undoes one change and marks it, so that an undo that was cut off does not look at it again.
func (r *run) takeBackOnce(number int, u undoRecord) (bool, error) {
	name := fmt.Sprintf("undone-%04d.json", number)
	var mark struct {
		Changed bool `json:"changed"`
	}
	found, err := r.read(name, &mark)
	if err != nil || found {
		return mark.Changed, err
	}
	if mark.Changed, err = r.takeBack(number, u); err != nil {
		return false, err
	}
	return mark.Changed, r.write(name, mark)
}

// takeBack undoes one change; false where it was never done or is undone already.
func (r *run) takeBack(number int, u undoRecord) (bool, error) {
	switch u.Action {
	case "quarantine":
		return r.putBack(u)
	case "put":
		return r.takeOut(number, u)
	case "registry":
		return r.restoreValue(u)
	case "bcd":
		return r.restoreBCD(u)
	case "script":
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
	return false, fmt.Errorf("unknown record '%s'", u.Action)
}

// putBack moves a kept file back to its place.
func (r *run) putBack(u undoRecord) (bool, error) {
	kept := join(r.folder, u.Kept)
	there, err := r.exists(kept)
	if err != nil || !there {
		return false, err
	}
	place := r.place(u.Path)
	if back, err := r.exists(place); err != nil || back {
		return false, cmpErr(err, fmt.Errorf("will not overwrite %s: it came back since", u.Path))
	}
	if sum, err := r.sum(kept); err != nil || sum != u.SHA256 {
		return false, cmpErr(err, fmt.Errorf("the kept copy of %s was changed", u.Path))
	}
	if err := r.Files.Move(kept, place); err != nil {
		return false, fmt.Errorf("put back %s: %w", u.Path, err)
	}
	return true, nil
}

// takeOut moves a file that was put into the run's folder, and what it replaced back to its place.
func (r *run) takeOut(number int, u undoRecord) (bool, error) {
	place, keptThere := r.place(u.Path), false
	var err error
	if u.Kept != "" {
		if keptThere, err = r.exists(join(r.folder, u.Kept)); err != nil {
			return false, err
		}
	}
	there, err := r.exists(place)
	if err != nil {
		return false, err
	}
	changed := false
	if there {
		sum, err := r.sum(place)
		switch {
		case err != nil:
			return false, err
		case u.Kept != "" && !keptThere && sum == u.SHA256:
			return false, nil // never replaced, or back already
		case sum != u.NewSHA256:
			return false, fmt.Errorf("will not overwrite %s: it was changed since", u.Path)
		case u.Kept != "" && !keptThere:
			return false, fmt.Errorf("the kept copy of %s is gone", u.Path)
		}
		if err := r.Files.Move(place, join(r.folder, fmt.Sprintf("taken-%04d", number))); err != nil {
			return false, fmt.Errorf("take out %s: %w", u.Path, err)
		}
		changed = true
	}
	if u.Kept == "" {
		return changed, nil
	}
	back, err := r.putBack(u)
	return back || changed, err
}

func (r *run) restoreValue(u undoRecord) (bool, error) {
	now, err := r.value(u.Key, u.Name)
	if err != nil || now.equal(u.Old) {
		return false, err
	}
	if !now.equal(u.New) {
		return false, fmt.Errorf("will not overwrite %s %s: it was changed since", u.Key, u.Name)
	}
	return true, r.setValue(u.Key, u.Name, u.Old)
}

// restoreBCD sets an element back. What the fix deleted is simply set again; what it set is looked at first.
func (r *run) restoreBCD(u undoRecord) (bool, error) {
	if u.New != nil {
		now, err := r.bcd(u.Name)
		if err != nil {
			return false, err
		}
		if now == nil && u.Old == nil || now != nil && u.Old != nil && fold(*now) == fold(unguard(u.Old.Data)[0]) {
			return false, nil
		}
	}
	if u.Old == nil {
		_, err := r.mustTool("bcdedit.exe", "/deletevalue", "{default}", u.Name)
		return err == nil, err
	}
	_, err := r.mustTool("bcdedit.exe", "/set", "{default}", u.Name, unguard(u.Old.Data)[0])
	return err == nil, err
}
