package windows

import (
	"fmt"

	"github.com/fleetmend/fleetmend/remediate/agent"
)

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
	var stopped []undoRecord
	for n := len(records) - 1; n >= 0; n-- {
		if err := r.ctx.Err(); err != nil {
			return false, fmt.Errorf("stopped: %w", err)
		}
		u := records[n]
		if u.Action == "stop" {
			stopped = append(stopped, u)
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
	for _, u := range stopped {
		changed, err := r.takeBack(len(records), u)
		if err != nil {
			return false, err
		}
		if changed {
			r.counted[countKey(len(records), u.Name)] = true
		}
	}
	result.Changed = len(r.counted)
	policy := begun.Reboot == "always" || begun.Reboot == "if-fixed"
	return policy && (result.Changed > 0 || continued), nil
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
