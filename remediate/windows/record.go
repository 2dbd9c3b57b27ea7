package windows

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
	"github.com/fleetmend/fleetmend/remediate/agent"
)

// What a run leaves on the machine, in %ProgramData%\fleetmend\runs\RUN, the same from agent.ps1 and from here, so that
// one can take back what the other did:
//
//	manifest.json                     the fix was begun
//	undo-0000.json, undo-0001.json    what undoes a change, written before the change
//	seal-0000-HASH                    empty: the SHA-256 of undo-0000.json, made after it and before the change
//	kept-0000, put-0000, taken-0000   files moved away, on their way in, and taken back; numbered as the undo record
//	done-0000.json                    the script of undo-0000.json ended well
//	fix.json, undo.json               the outcome: a repeated request is answered from it
//	undoing.json                      the undo was begun
//	undone-0001.json                  the change of undo-0001.json is taken back
//	stuck-0001.json                   undo stopped at it once
//	start.json                        a service's start type is being changed: see startRecord
//	lock.json                         a request is at work: see lock.go
//	fix-restart.json, ...             the restart was scheduled
type manifest struct {
	Version  int    `json:"version"`
	Run      string `json:"run"`
	Playbook string `json:"playbook"`
	Reboot   string `json:"reboot"`
	By       string `json:"by"`     // go or the version of PowerShell
	Time     int64  `json:"time"`   // Unix seconds by the machine's clock
	Uptime   int64  `json:"uptime"` // at that time
}

// outcome is the record of a mode that acts once.
type outcome struct {
	Run     string           `json:"run"`
	Outcome string           `json:"outcome"`
	Changed int              `json:"changed"`
	Message string           `json:"message"`
	Steps   []agent.StepDone `json:"steps"`
	Restart bool             `json:"restart"` // wanted
	Time    int64            `json:"time"`    // Unix seconds by the machine's clock
	Uptime  int64            `json:"uptime"`  // at that time
	Records int              `json:"records"` // how many undo records there are
}

// undoRecord is one change to take back. Paths are in the words of the running system (C:), kept files by name.
type undoRecord struct {
	Step      int      `json:"step"`
	Action    string   `json:"action"` // quarantine, put, registry, key, made-key, stop, bcd, script
	Target    string   `json:"target"`
	Path      string   `json:"path,omitempty"`
	Kept      string   `json:"kept,omitempty"`
	SHA256    string   `json:"sha256,omitempty"`    // of what is kept
	NewSHA256 string   `json:"newsha256,omitempty"` // of what was put
	SDDL      string   `json:"sddl,omitempty"`      // owner and rights of what is kept
	Marks     *uint32  `json:"marks,omitempty"`     // its attributes: 1 read-only, 2 hidden, 4 system
	Made      []string `json:"made,omitempty"`      // folders that were made for it, the outermost first
	Key       string   `json:"key,omitempty"`
	Name      string   `json:"name,omitempty"`
	Old       *data    `json:"old,omitempty"`     // nil: it was absent
	New       *data    `json:"new,omitempty"`     // nil: it was deleted
	Service   bool     `json:"service,omitempty"` // set through the service controller
	Entry     string   `json:"entry,omitempty"`   // boot entry that it was
	Shell     string   `json:"shell,omitempty"`
	Undo      string   `json:"undo,omitempty"`
	Args      []string `json:"args,omitempty"` // each behind "=", as in data
	Timeout   int      `json:"timeout,omitempty"`
}

// data is a value in a form that every JSON reader gives back unchanged: text, each behind a "=", because PowerShell 7
// turns a text that looks like a date into one. Numbers are decimal, bytes upper-case hex. Raw has the bytes of a value
// that is [Odd], as a list of one; Data then is what it is read as, and empty where it is read as nothing.
type data struct {
	Type string   `json:"type"`
	Data []string `json:"data"`
	Raw  []string `json:"raw,omitempty"`
}

func (d *data) equal(other *data) bool {
	if d == nil || other == nil {
		return d == other
	}
	return d.Type == other.Type && slices.Equal(d.Data, other.Data) && slices.Equal(d.Raw, other.Raw)
}

func guard(texts []string) []string {
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = "=" + t
	}
	return out
}

func unguard(texts []string) []string {
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = strings.TrimPrefix(t, "=")
	}
	return out
}

const maxRecord = 16 << 20

// damage is what does not get better by being asked again: a record or a kept copy that is gone or not what it was. Undo
// names it and goes on with the rest.
type damage struct{ words string }

func (d damage) Error() string { return d.words }

// write writes a record and reads it back: no change is made without a whole record of it.
func (r *run) write(name string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write record %s: %w", name, err)
	}
	path := join(r.folder, name)
	if err := r.Files.Create(path, raw); err != nil {
		return fmt.Errorf("write record %s: %w", name, err)
	}
	if sum, err := r.sum(path); err != nil || sum != sumOf(raw) {
		_ = r.Files.Remove(path)
		return cmpErr(err, fmt.Errorf("the record %s could not be written whole: is the disk full?", name))
	}
	return nil
}

// read reads a record. One that does not hold the field that every record of its sort has is damaged and is not obeyed.
func (r *run) read(name, field string, v any) (found bool, err error) {
	kind, err := r.Files.Look(join(r.folder, name))
	if err != nil {
		return false, fmt.Errorf("look for record %s: %w", name, err)
	}
	if kind == Nothing {
		return false, nil
	}
	raw, err := r.raw(name)
	var fields map[string]json.RawMessage
	if err == nil {
		err = json.Unmarshal(raw, &fields)
	}
	if err == nil {
		err = json.Unmarshal(raw, v)
	}
	if value := fields[field]; err != nil || len(value) == 0 || string(value) == "null" {
		return false, damage{"a record is damaged: " + name}
	}
	return true, nil
}

func (r *run) raw(name string) ([]byte, error) {
	f, err := r.Files.Open(join(r.folder, name))
	if err != nil {
		return nil, fmt.Errorf("read record %s: %w", name, err)
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, maxRecord))
	if err != nil {
		return nil, fmt.Errorf("read record %s: %w", name, err)
	}
	return bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")), nil // 5.1 writes a mark
}

func undoName(number int) string { return fmt.Sprintf("undo-%04d.json", number) }

var numbered = lazyregexp.New(`^(?:undo|done|undone|kept|taken|seal)-([0-9]{4,9})(?:\.json|-([0-9a-f]{64}))?$`)

// total counts the changes of which there are records, by their numbers: a gap does not end the count, and neither does a
// lost last record. Where what the fix said of itself is damaged, the count comes with that error.
func (r *run) total() (int, error) {
	files, err := r.Files.List(r.folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("list records: %w", err)
	}
	total := 0
	for _, f := range files {
		if m := numbered.FindStringSubmatch(f.Name); m != nil {
			n, _ := strconv.Atoi(m[1])
			if m[2] != "" {
				r.seals[n] = m[2]
			}
			total = max(total, n+1)
		}
	}
	var fixed outcome
	if _, err := r.read("fix.json", "outcome", &fixed); err != nil {
		return total, err
	}
	return max(total, fixed.Records), nil
}

// change reads the record of a change, as it was sealed.
func (r *run) change(number int) (u undoRecord, err error) {
	name := undoName(number)
	found, err := r.read(name, "action", &u)
	if err == nil && !found {
		err = damage{"a record is gone: " + name}
	}
	known := slices.ContainsFunc(changeKinds, func(row changeKind) bool { return row.name == u.Action })
	if err != nil || !known || r.seals[number] == "" {
		return u, err
	}
	if sum, err := r.sum(join(r.folder, name)); err != nil || strings.ToLower(sum) != r.seals[number] {
		return u, cmpErr(err, damage{"a record is damaged: " + name})
	}
	return u, nil
}

// recordHash is what is to be obeyed at undo, as one hash: SHA-256 over "name LF sha256 LF" of the manifest and of the
// first undo records, hashes in lower-case hex. "" where one of them is gone.
func (r *run) recordHash(total int) (string, error) {
	var lines strings.Builder
	for i := -1; i < total; i++ {
		name := "manifest.json"
		if i >= 0 {
			name = undoName(i)
		}
		if there, err := r.exists(join(r.folder, name)); err != nil || !there {
			return "", err
		}
		sum, err := r.sum(join(r.folder, name))
		if err != nil {
			return "", err
		}
		lines.WriteString(name + "\n" + strings.ToLower(sum) + "\n")
	}
	return strings.ToLower(sumOf([]byte(lines.String()))), nil
}

// ofTheFix refuses records that are not those which the fix reported, and names what it can.
func (r *run) ofTheFix(want string, total int) error {
	for i := -1; i < total; i++ {
		name := "manifest.json"
		if i >= 0 {
			name = undoName(i)
		}
		if there, err := r.exists(join(r.folder, name)); err != nil || !there {
			return cmpErr(err, fmt.Errorf("a record is gone: %s; nothing was taken back", name))
		}
	}
	last := "manifest.json"
	if total > 0 {
		last = undoName(total - 1)
	}
	const looked = 16
	for n := total; n >= 0 && n >= total-looked; n-- {
		sum, err := r.recordHash(n)
		if err != nil {
			return err
		}
		if sum == want && n == total {
			return nil
		}
		if sum == want {
			return fmt.Errorf("%s is not of this run: the fix reported no such record; nothing was taken back", undoName(n))
		}
	}
	return fmt.Errorf("the records of this run (manifest.json to %s) are not those that the fix reported; nothing was taken back", last)
}

// recount takes over what an earlier, cut request of this run has changed already, and ends what it had begun.
func (r *run) recount() error {
	if err := r.completeStart(); err != nil {
		return err
	}
	total, err := r.total()
	if err != nil {
		return err
	}
	for ; r.records < total; r.records++ {
		u, err := r.change(r.records)
		if err != nil {
			return err
		}
		if mark, _, err := r.undone(r.records); err != nil || !mark.Void {
			r.counted[countKey(u.Step, u.Target)] = u.Step
		}
		if u.Action == "script" {
			r.scripts[u.Step] = r.records
		}
	}
	return nil
}

// record writes down what undoes a change, and counts it. The change comes after it: a cut in between leaves a record
// whose work is not done, which undo notices. The seal tells of a record that is gone or changed where no fix came to its end.
func (r *run) record(u undoRecord) error {
	u.Step = r.step
	if !utf8.ValidString(u.Path) { // as Go gives names that hold half a surrogate pair, which JSON cannot hold
		return fmt.Errorf("%s holds half a character, which no record can hold: it is not changed", u.Target)
	}
	if err := r.write(undoName(r.records), u); err != nil {
		return err
	}
	sum, err := r.sum(join(r.folder, undoName(r.records)))
	if err != nil {
		return err
	}
	if err := r.Files.Create(join(r.folder, fmt.Sprintf("seal-%04d-%s", r.records, strings.ToLower(sum))), nil); err != nil {
		return fmt.Errorf("seal record %s: %w", undoName(r.records), err)
	}
	r.records++
	r.counted[countKey(u.Step, u.Target)] = u.Step
	return nil
}

func countKey(step int, target string) string { return fmt.Sprintf("%d|%s", step, fold(target)) }

// changedIn counts what an action has changed, in this request and in earlier ones of the run.
func (r *run) changedIn(step int) int {
	n := 0
	for _, of := range r.counted {
		if of == step {
			n++
		}
	}
	return n
}
