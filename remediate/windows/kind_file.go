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
	act:    func(r *run, a playbook.Action, _ *agent.StepDone) error { return r.quarantine(*a.Quarantine) },
}

var quarantineChange = changeKind{"quarantine", func(r *run, _ int, u undoRecord) (bool, error) { return r.putBack(u) }}

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
		sum, err := r.sum(f.place)
		if err != nil {
			return err
		}
		kept := fmt.Sprintf("kept-%04d", r.records)
		if err := r.record(undoRecord{Action: "quarantine", Target: f.path, Path: f.path, Kept: kept, SHA256: sum}); err != nil {
			return err
		}
		if err := r.Files.Move(f.place, join(r.folder, kept)); err != nil {
			return fmt.Errorf("quarantine: %w", err)
		}
	}
	return nil
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

// found is one file that matched: its path in the words of the playbook, and where it is.
type found struct {
	FileInfo
	path, place string
}

// find returns the files that match a pattern and its test. A folder that is not there has no files.
func (r *run) find(pattern string, test playbook.FileTest) ([]found, error) {
	words, _, err := r.paths(pattern)
	if err != nil {
		return nil, err
	}
	folder, name := splitPath(words)
	if strings.ContainsAny(folder, "*?") {
		return nil, fmt.Errorf("wildcards only in the last part: '%s'", pattern)
	}
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
