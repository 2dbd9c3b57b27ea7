package windows

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/remediate/agent"
)

// What a run leaves on the machine, in %ProgramData%\fleetmend\runs\RUN, the same from agent.ps1 and from here, so that
// one can take back what the other did:
//
//	manifest.json                     the fix was begun
//	undo-0000.json, undo-0001.json    what undoes a change, written before the change
//	kept-0000, put-0000, taken-0000   files moved away, on their way in, and taken back; numbered as the undo record
//	fix.json, undo.json               the outcome: a repeated request is answered from it
//	undoing.json                      the undo was begun
//	undone-0001.json                  the change of undo-0001.json is taken back
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
}

// undoRecord is one change to take back. Paths are in the words of the running system (C:), kept files by name.
type undoRecord struct {
	Step      int      `json:"step"`
	Action    string   `json:"action"` // quarantine, put, registry, stop, bcd, script
	Target    string   `json:"target"`
	Path      string   `json:"path,omitempty"`
	Kept      string   `json:"kept,omitempty"`
	SHA256    string   `json:"sha256,omitempty"`    // of what is kept
	NewSHA256 string   `json:"newsha256,omitempty"` // of what was put
	Key       string   `json:"key,omitempty"`
	Name      string   `json:"name,omitempty"`
	Old       *data    `json:"old,omitempty"` // nil: it was absent
	New       *data    `json:"new,omitempty"` // nil: it was deleted
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

func (r *run) write(name string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write record %s: %w", name, err)
	}
	if err := r.Files.Create(join(r.folder, name), raw); err != nil {
		return fmt.Errorf("write record %s: %w", name, err)
	}
	return nil
}

func (r *run) read(name string, v any) (found bool, err error) {
	f, err := r.Files.Open(join(r.folder, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read record %s: %w", name, err)
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, maxRecord))
	if err == nil {
		err = json.Unmarshal([]byte(strings.TrimPrefix(string(raw), "\uFEFF")), v) // 5.1 writes a BOM
	}
	if err != nil {
		return false, fmt.Errorf("read record %s: %w", name, err)
	}
	return true, nil
}

func undoName(number int) string { return fmt.Sprintf("undo-%04d.json", number) }

// undoRecords reads all undo records in their order.
func (r *run) undoRecords() ([]undoRecord, error) {
	var records []undoRecord
	for {
		var u undoRecord
		found, err := r.read(undoName(len(records)), &u)
		if err != nil {
			return nil, err
		}
		if !found {
			return records, nil
		}
		records = append(records, u)
	}
}

// recount takes over what an earlier, cut request of this run has changed already.
func (r *run) recount() error {
	records, err := r.undoRecords()
	if err != nil {
		return err
	}
	r.records = len(records)
	for _, u := range records {
		r.counted[countKey(u.Step, u.Target)] = true
	}
	return nil
}

// record writes down what undoes a change, and counts it. The change comes after it: a cut in between leaves a record
// whose work is not done, which undo notices.
func (r *run) record(u undoRecord) error {
	u.Step = r.step
	if err := r.write(undoName(r.records), u); err != nil {
		return err
	}
	r.records++
	r.counted[countKey(u.Step, u.Target)] = true
	return nil
}

func countKey(step int, target string) string { return fmt.Sprintf("%d|%s", step, fold(target)) }

// changedIn counts what the action at work has changed, in this request and in earlier ones of the run.
func (r *run) changedIn(step int) int {
	n, prefix := 0, fmt.Sprintf("%d|", step)
	for key := range r.counted {
		if strings.HasPrefix(key, prefix) {
			n++
		}
	}
	return n
}
