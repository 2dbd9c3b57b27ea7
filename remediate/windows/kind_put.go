package windows

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

var putKind = stepKind{
	name:   "put",
	target: func(a playbook.Action) string { return a.Put.File },
	ahead: func(r *run, a playbook.Action) error {
		_, err := r.putFits(*a.Put)
		return err
	},
	act: func(r *run, a playbook.Action, _ *agent.StepDone) error { return r.put(*a.Put) },
}

var putChange = changeKind{name: "put", undo: (*run).takeOut, back: func(r *run, u undoRecord) (bool, error) {
	now, err := r.there(r.place(u.Path))
	if u.Kept == "" {
		return now != u.NewSHA256, err
	}
	return now == u.SHA256, err
}}

func (r *run) put(p playbook.Put) error {
	content, err := r.putFits(p)
	if err != nil {
		return err
	}
	words, place, err := r.paths(p.File)
	if err != nil {
		return err
	}
	want := strings.ToUpper(p.SHA256)
	u := undoRecord{Action: "put", Target: words, Path: words, NewSHA256: want}
	if err := r.noLink(place); err != nil {
		return err
	}
	kind, err := r.Files.Look(place)
	if err != nil {
		return fmt.Errorf("look for %s: %w", place, err)
	}
	switch kind {
	case Nothing:
		if u.Made, err = r.missing(words); err != nil {
			return err
		}
	case File:
		if u.SHA256, err = r.sum(place); err != nil {
			return err
		}
		if u.SHA256 == want {
			return r.markAgain(words, place)
		}
		marks, err := r.marks(place)
		if err != nil {
			return err
		}
		u.SDDL, u.Marks = marks.SDDL, &marks.Attributes
		u.Kept = fmt.Sprintf("kept-%04d", r.records)
	default:
		return fmt.Errorf("%s is a folder", words)
	}
	if sumOf(content) != want {
		return fmt.Errorf("content of '%s' does not have the hash it should", p.File)
	}
	aside := join(r.folder, fmt.Sprintf("put-%04d", r.records))
	// Written aside first: what is in the way is moved only when its successor is whole and on the same volume.
	if err := r.aside(aside, content); err != nil {
		return fmt.Errorf("put %s: %w", words, err)
	}
	if err := r.record(u); err != nil {
		return err
	}
	if u.Kept != "" {
		if err := r.keep(u, place); err != nil {
			return err
		}
	}
	if err := r.noLink(place); err != nil {
		return err
	}
	if err := r.Files.Move(aside, place); err != nil {
		return fmt.Errorf("put %s: %w", words, err)
	}
	if now, err := r.there(place); err != nil || now != want {
		return cmpErr(err, fmt.Errorf("%s is not what was put there", words))
	}
	return r.mark(place, u)
}

// markAgain: an earlier request of this run may have put the file and then ended before it had its rights.
func (r *run) markAgain(words, place string) error {
	for n := range r.records {
		var u undoRecord
		if found, err := r.read(undoName(n), "action", &u); err != nil || !found || u.Action != "put" || fold(u.Path) != fold(words) {
			continue
		}
		return r.mark(place, u)
	}
	return nil
}

// missing returns the folders of a path that are not there, the outermost first, in the words of the running system.
func (r *run) missing(words string) (folders []string, err error) {
	for folder, _ := splitPath(words); len(folder) > 2; folder, _ = splitPath(folder) {
		kind, err := r.Files.Look(r.place(folder))
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", folder, err)
		}
		if kind != Nothing {
			break
		}
		folders = append([]string{folder}, folders...)
	}
	return folders, nil
}

// aside writes a file into the run's folder and reads it back; what an earlier, cut request left there goes.
func (r *run) aside(path string, content []byte) error {
	if there, err := r.exists(path); err != nil {
		return err
	} else if there {
		if err := r.Files.Remove(path); err != nil {
			return err
		}
	}
	if err := r.Files.Create(path, content); err != nil {
		return err
	}
	if sum, err := r.sum(path); err != nil || sum != sumOf(content) {
		return cmpErr(err, errors.New("it could not be written whole: is the disk full?"))
	}
	return nil
}

// takeOut moves a file that was put into the run's folder, and what it replaced back to its place. What is kept is looked
// at before anything is moved.
func (r *run) takeOut(number int, u undoRecord) (bool, error) {
	place := r.place(u.Path)
	folder, _ := splitPath(place)
	if err := r.noLink(folder); err != nil {
		return false, err
	}
	now, err := r.there(place)
	switch {
	case err != nil:
		return false, err
	case u.Kept != "" && now == u.SHA256:
		return false, r.mark(place, u) // never replaced, or back already
	case now != "" && now != u.NewSHA256:
		return false, fmt.Errorf("will not overwrite %s: it was changed since", u.Path)
	}
	if u.Kept != "" {
		if err := r.keptWhole(u); err != nil {
			return false, err
		}
	}
	if now != "" {
		if err := r.Files.Move(place, join(r.folder, fmt.Sprintf("taken-%04d", number))); err != nil {
			return false, fmt.Errorf("take out %s: %w", u.Path, err)
		}
	}
	if u.Kept != "" {
		return true, r.putBack(u, place)
	}
	for i := len(u.Made) - 1; i >= 0; i-- { // unless somebody uses them
		if kind, err := r.Files.Look(r.place(u.Made[i])); err != nil || kind != Directory {
			continue
		}
		if err := r.Files.Remove(r.place(u.Made[i])); err != nil {
			break
		}
	}
	return now != "", nil
}

func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return upperHex(sum[:])
}

// putFits refuses a file that cannot lie here, and returns its content.
func (r *run) putFits(p playbook.Put) (content []byte, err error) {
	words, place, err := r.paths(p.File)
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(p.File, "*?") {
		return nil, fmt.Errorf("no wildcards here: '%s'", p.File)
	}
	if content, err = hex.DecodeString(p.Hex); err != nil {
		return nil, fmt.Errorf("content of '%s' is no hex", p.File)
	}
	if drive := fold(place[:2]); drive != "C:" && r.request.Root == "" {
		if there, err := r.exists(place[:3]); err != nil || !there {
			return nil, cmpErr(err, fmt.Errorf("there is no drive %s here: '%s'", drive, words))
		}
	}
	return content, nil
}
