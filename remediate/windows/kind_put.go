package windows

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

var putKind = stepKind{
	name:   "put",
	target: func(a playbook.Action) string { return a.Put.File },
	act:    func(r *run, a playbook.Action, _ *agent.StepDone) error { return r.put(*a.Put) },
}

var putChange = changeKind{"put", (*run).takeOut}

func (r *run) put(p playbook.Put) error {
	words, place, err := r.paths(p.File)
	if err != nil {
		return err
	}
	if strings.ContainsAny(p.File, "*?") {
		return fmt.Errorf("no wildcards here: '%s'", p.File)
	}
	content, err := hex.DecodeString(p.Hex)
	if err != nil {
		return fmt.Errorf("content of '%s' is no hex", p.File)
	}
	want := strings.ToUpper(p.SHA256)
	u := undoRecord{Action: "put", Target: words, Path: words, NewSHA256: want}
	there, err := r.exists(place)
	if err != nil {
		return err
	}
	if there {
		if u.SHA256, err = r.sum(place); err != nil {
			return err
		}
		if u.SHA256 == want {
			return nil
		}
		u.Kept = fmt.Sprintf("kept-%04d", r.records)
	}
	if sumOf(content) != want {
		return fmt.Errorf("content of '%s' does not have the hash it should", p.File)
	}
	aside := join(r.folder, fmt.Sprintf("put-%04d", r.records))
	if err := r.record(u); err != nil {
		return err
	}
	// Written aside first: what is in the way is moved only when its successor is whole and on the same volume.
	if err := r.Files.Create(aside, content); err != nil {
		return fmt.Errorf("put %s: %w", words, err)
	}
	if u.Kept != "" {
		if err := r.Files.Move(place, join(r.folder, u.Kept)); err != nil {
			return fmt.Errorf("put %s: %w", words, err)
		}
	}
	if err := r.Files.Move(aside, place); err != nil {
		return fmt.Errorf("put %s: %w", words, err)
	}
	return nil
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

func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return upperHex(sum[:])
}
