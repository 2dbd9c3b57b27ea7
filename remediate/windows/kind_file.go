package windows

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

var quarantineKind = stepKind{
	name:   "quarantine",
	target: func(a playbook.Action) string { return a.Quarantine.File },
	ahead: func(r *run, a playbook.Action) error {
		_, err := r.patternFits(a.Quarantine.File)
		return err
	},
	act: func(r *run, a playbook.Action, _ *agent.StepDone) error { return r.quarantine(*a.Quarantine) },
}

var quarantineChange = changeKind{
	name: "quarantine",
	undo: func(r *run, _ int, u undoRecord) (bool, error) { return r.unquarantine(u) },
	back: func(r *run, u undoRecord) (bool, error) {
		now, err := r.there(r.place(u.Path))
		return now == u.SHA256, err
	},
}

var fileTest = testKind{
	name:  "file",
	words: func(c playbook.Condition) string { return "file " + c.File },
	holds: func(r *run, c playbook.Condition) (bool, error) {
		found, err := r.find(c.File, c.FileTest)
		return len(found) > 0, err
	},
}

var noFileTest = testKind{
	name:  "no-file",
	words: func(c playbook.Condition) string { return "no-file " + c.NoFile },
	holds: func(r *run, c playbook.Condition) (bool, error) {
		found, err := r.find(c.NoFile, c.FileTest)
		return len(found) == 0, err
	},
}

func (r *run) quarantine(q playbook.Quarantine) error {
	files, err := r.find(q.File, q.FileTest)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := r.noLink(f.place); err != nil {
			return err
		}
		sum, err := r.sum(f.place)
		if err != nil {
			return err
		}
		marks, err := r.marks(f.place)
		if err != nil {
			return err
		}
		u := undoRecord{Action: "quarantine", Target: f.path, Path: f.path, Kept: fmt.Sprintf("kept-%04d", r.records), SHA256: sum,
			SDDL: marks.SDDL, Marks: &marks.Attributes}
		if err := r.record(u); err != nil {
			return err
		}
		if err := r.keep(u, f.place); err != nil {
			return err
		}
		if still, err := r.exists(f.place); err != nil || still {
			return cmpErr(err, fmt.Errorf("%s is still there after it was moved", f.path))
		}
	}
	return nil
}

// keep moves a file away. A link that came into its way since it was looked at is refused; what is not what the record says, because
// somebody wrote to it in that moment, is moved back at once, and the record is marked as void.
func (r *run) keep(u undoRecord, place string) error {
	if err := r.noLink(place); err != nil {
		return err
	}
	kept := join(r.folder, u.Kept)
	if err := r.Files.Move(place, kept); err != nil {
		return errors.Join(fmt.Errorf("move %s away: %w", u.Path, err), r.unmoved(u, place, kept))
	}
	if now, err := r.there(kept); err != nil || now == u.SHA256 {
		return err
	}
	if err := r.Files.Move(kept, place); err != nil {
		return fmt.Errorf("%s was changed while it was moved away, and could not be moved back: %w", u.Path, err)
	}
	if err := r.void(u); err != nil {
		return err
	}
	return fmt.Errorf("%s was changed while it was moved away: it is back in its place", u.Path)
}

// unmoved takes note of a move that did nothing: the file is where it was, and nothing of it in our folder. That is no change.
func (r *run) unmoved(u undoRecord, place, kept string) error {
	if still, err := r.exists(place); err != nil || !still {
		return nil //nolint:nilerr // not known to be there: the record stays, and undo looks for itself
	}
	if moved, err := r.exists(kept); err != nil || moved {
		return nil //nolint:nilerr // as before
	}
	return r.void(u)
}

// void marks the newest record as one of nothing, and does not count it.
func (r *run) void(u undoRecord) error {
	delete(r.counted, countKey(r.step, u.Target))
	return r.write(undoneName(r.records-1), undoneMark{Void: true})
}

// unquarantine moves a kept file back. Back means in its place by its hash: what somebody put there since is not overwritten.
func (r *run) unquarantine(u undoRecord) (bool, error) {
	place := r.place(u.Path)
	folder, _ := splitPath(place)
	if err := r.noLink(folder); err != nil {
		return false, err
	}
	now, err := r.there(place)
	if err != nil {
		return false, err
	}
	if now == u.SHA256 {
		return false, r.mark(place, u)
	}
	if now != "" {
		return false, fmt.Errorf("will not overwrite %s: it came back since", u.Path)
	}
	if err := r.keptWhole(u); err != nil {
		return false, err
	}
	return true, r.putBack(u, place)
}

// keptWhole proves that what is kept is there and is what was kept.
func (r *run) keptWhole(u undoRecord) error {
	now, err := r.there(join(r.folder, u.Kept))
	switch {
	case err != nil:
		return err
	case now == "":
		return damage{"the kept copy of " + u.Path + " is gone"}
	case now != u.SHA256:
		return damage{"the kept copy of " + u.Path + " was changed"}
	}
	return nil
}

func (r *run) putBack(u undoRecord, place string) error {
	if err := r.Files.Move(join(r.folder, u.Kept), place); err != nil {
		return fmt.Errorf("put back %s: %w", u.Path, err)
	}
	if now, err := r.there(place); err != nil || now != u.SHA256 {
		return cmpErr(err, fmt.Errorf("%s is not as it was after it was moved back", u.Path))
	}
	return r.mark(place, u)
}

// there is the hash of what stands in a place: "" for nothing, "-" for what is no file.
func (r *run) there(place string) (string, error) {
	kind, err := r.Files.Look(place)
	switch {
	case err != nil:
		return "", fmt.Errorf("look for %s: %w", place, err)
	case kind == Nothing:
		return "", nil
	case kind != File:
		return "-", nil
	}
	return r.sum(place)
}

// noLink refuses what is a link or lies behind one: who made it decides where it leads.
func (r *run) noLink(place string) error {
	kind, err := r.Files.Look(place)
	if err != nil {
		return fmt.Errorf("look for %s: %w", place, err)
	}
	if kind != Link {
		return nil
	}
	for { // the outermost of the way, which is what a person looks for
		folder, _ := splitPath(place)
		kind, err := r.Files.Look(folder)
		if err != nil || kind != Link || len(folder) < 4 {
			return cmpErr(err, fmt.Errorf("%s is a link: nothing is done through it", place))
		}
		place = folder
	}
}

// found is one file that matched: its path in the words of the playbook, and where it is.
type found struct {
	FileInfo
	path, place string
}

// find returns the files that match a pattern and its test. A folder that is not there has no files.
func (r *run) find(pattern string, test playbook.FileTest) ([]found, error) {
	words, err := r.patternFits(pattern)
	if err != nil {
		return nil, err
	}
	folder, name := splitPath(words)
	_, place, err := r.paths(folder + `\-`)
	if err != nil {
		return nil, err
	}
	place, _ = splitPath(place)
	list, err := r.Files.List(place)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", place, err)
	}
	var all []found
	for _, info := range list {
		if !match(name, info.Name) {
			continue
		}
		f := found{info, join(folder, info.Name), join(place, info.Name)}
		ok, err := r.fileHolds(f, test)
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, f)
		}
	}
	return all, nil
}

func (r *run) fileHolds(f found, test playbook.FileTest) (bool, error) {
	if w := test.Modified; w != nil {
		if !w.After.IsZero() && f.Modified.Before(w.After) || !w.Before.IsZero() && !f.Modified.Before(w.Before) {
			return false, nil
		}
	}
	if test.Header != "" {
		head, err := r.head(f.place, len(test.Header)/2)
		if err != nil || !strings.EqualFold(head, test.Header) {
			return false, err
		}
	}
	if test.SHA256 != "" {
		sum, err := r.sum(f.place)
		if err != nil || !strings.EqualFold(sum, test.SHA256) {
			return false, err
		}
	}
	if v := test.Version; v != nil {
		ok, err := r.versionHolds(f.place, v.Min, v.Max)
		if err != nil {
			return false, fmt.Errorf("read the version of %s: %w", f.path, err)
		}
		return ok, nil
	}
	return true, nil
}

// head returns the first bytes in hex, or "" where the file is shorter.
func (r *run) head(place string, count int) (string, error) {
	f, err := r.Files.Open(place)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", place, err)
	}
	defer func() { _ = f.Close() }()
	raw := make([]byte, count)
	if _, err := io.ReadFull(f, raw); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return "", nil
		}
		return "", fmt.Errorf("read %s: %w", place, err)
	}
	return upperHex(raw), nil
}

// sum returns a file's SHA-256 in upper-case hex.
func (r *run) sum(place string) (string, error) {
	f, err := r.Files.Open(place)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", place, err)
	}
	defer func() { _ = f.Close() }()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", fmt.Errorf("read %s: %w", place, err)
	}
	return upperHex(hash.Sum(nil)), nil
}

// match compares a name with a pattern of * and ?, without regard to case. A character is what Windows takes for one: a
// UTF-16 unit, so an emoji is two.
func match(pattern, name string) bool {
	p, n := foldUnits(pattern), foldUnits(name)
	star, mark, i, j := -1, 0, 0, 0
	for j < len(n) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == n[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

func foldUnits(text string) []uint16 {
	runes := []rune(text)
	for i, c := range runes {
		runes[i] = unicode.ToUpper(c)
	}
	return utf16.Encode(runes)
}

// patternFits refuses a pattern that cannot be looked for here, and returns it in the words of the running system.
func (r *run) patternFits(pattern string) (words string, err error) {
	if words, _, err = r.paths(pattern); err != nil {
		return "", err
	}
	if folder, _ := splitPath(words); strings.ContainsAny(folder, "*?") {
		return "", fmt.Errorf("wildcards only in the last part: '%s'", pattern)
	}
	return words, nil
}
