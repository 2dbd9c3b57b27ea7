package windows

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fleetmend/fleetmend/remediate/agent"
)

// undo takes a run back, the last change first. It stops at a change that somebody has made since; asked again it names it
// and goes on with the others. What is damaged or gone is named and left alone at once: it does not come back by asking.
func (r *run) undo(result *agent.Result) (restart bool, err error) {
	total, damaged := r.total()
	if damaged != nil && !errors.As(damaged, new(damage)) {
		return false, damaged
	}
	result.Outcome = agent.Undone
	begun, err := r.exists(join(r.folder, "manifest.json"))
	if err != nil {
		return false, err
	}
	if total == 0 && damaged == nil && !begun {
		if want := r.request.Record; want != "" { // a fix that reported records did change something: all of them are gone
			return false, r.ofTheFix(want, total)
		}
		result.Message = "this run changed nothing here"
		return false, nil
	}
	if !r.locked { // another request has begun just now
		busy(result, lock{})
		return false, nil
	}
	if want := r.request.Record; want != "" {
		if err := r.ofTheFix(want, total); err != nil {
			return false, err
		}
	}
	u := undoing{run: r, total: total, marked: map[int]bool{}}
	if damaged != nil { // what the fix said of itself: its changes are taken back all the same
		u.problem(damaged)
	}
	var m manifest
	if found, err := r.read("manifest.json", "run", &m); err != nil {
		u.problem(err)
	} else if !found {
		u.problem(errors.New("manifest.json is gone"))
	}
	if err := r.completeStart(); err != nil {
		u.problem(err)
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
	if err := u.all(); err != nil {
		return false, err
	}
	lost, err := r.lost(total, u.marked)
	if err != nil {
		return false, err
	}
	u.problems = append(u.problems, lost...)
	result.Changed = len(r.counted)
	if len(u.problems) > 0 {
		return false, errors.New(strings.Join(u.problems, "; "))
	}
	result.Message = bound(strings.Join(r.remarks, "; "))
	policy := m.Reboot == "always" || m.Reboot == "if-fixed"
	return policy && (result.Changed > 0 || continued), nil
}

// undoing is one undo at work.
type undoing struct {
	*run
	total    int
	marked   map[int]bool // taken back by an earlier request
	problems []string
}

func (u *undoing) problem(err error) { u.problems = append(u.problems, err.Error()) }

func (u *undoing) all() error {
	// Services are started at the end, when their start types are back, in the order of their needs.
	var stopped []undoRecord
	for n := u.total - 1; n >= 0; n-- {
		if err := u.ctx.Err(); err != nil {
			return fmt.Errorf("stopped: %w", err)
		}
		record, err := u.one(n)
		if err == nil && record.Action == "stop" {
			stopped = append(stopped, record)
		}
		if err == nil {
			continue
		}
		stuck := fmt.Sprintf("stuck-%04d.json", n)
		before, look := u.exists(join(u.folder, stuck))
		if !errors.As(err, new(damage)) && !before && look == nil {
			_ = u.write(stuck, map[string]int64{"time": u.Now().Unix()}) // without it the next request stops here, too
			return err
		}
		u.problem(err)
	}
	for _, record := range stopped {
		changed, err := u.takeBack(u.total, record)
		if err != nil {
			u.problem(fmt.Errorf("%s: %w", record.Name, err))
		}
		if changed {
			u.counted[countKey(u.total, record.Name)] = u.total
		}
	}
	return nil
}

// one takes one change back and marks it, so that an undo that was cut off does not do it again.
func (u *undoing) one(n int) (record undoRecord, err error) {
	record, err = u.change(n)
	if err != nil || record.Action == "stop" {
		return record, err
	}
	mark, found, err := u.undone(n)
	if errors.As(err, new(damage)) && record.Action != "script" {
		// Whatever it said: to take a change back begins with looking whether it is back.
		if err = u.Files.Remove(join(u.folder, undoneName(n))); err != nil {
			return record, err
		}
	}
	if err != nil {
		return record, err
	}
	u.marked[n] = found
	if !found {
		if mark.Changed, err = u.takeBack(n, record); err != nil {
			return record, err
		}
		if err := u.write(undoneName(n), mark); err != nil {
			return record, err
		}
	}
	if mark.Changed {
		u.counted[countKey(n, record.Target)] = n
	}
	return record, nil
}

// undoneMark says that a change is taken back, or, where void is set, that it was taken back by the fix itself as soon as it was made.
type undoneMark struct {
	Changed bool `json:"changed"`
	Void    bool `json:"void,omitempty"`
}

func undoneName(number int) string { return fmt.Sprintf("undone-%04d.json", number) }

func (r *run) undone(number int) (mark undoneMark, found bool, err error) {
	found, err = r.read(undoneName(number), "changed", &mark)
	return mark, found, err
}

// lost looks at what earlier requests took back: what of it is not so any more, as words. Only the oldest change of a
// thing tells how it was.
func (r *run) lost(total int, marked map[int]bool) (words []string, err error) {
	seen := map[string]bool{}
	for n := range total {
		u, err := r.change(n)
		if err != nil {
			continue // named where it is needed
		}
		if mark, _, err := r.undone(n); err == nil && mark.Void {
			continue
		}
		what := u.Action + "|" + fold(u.Target)
		if seen[what] || !marked[n] {
			seen[what] = true
			continue
		}
		seen[what] = true
		back, err := r.isBack(u)
		if err != nil {
			return nil, err
		}
		if !back {
			words = append(words, u.Target+" was taken back, and is not as it was any more")
		}
	}
	return words, nil
}
