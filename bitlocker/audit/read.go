package audit

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/table"
)

const columns = "seq, time, action, os_user, identity, host, machine, key_id, source, reason, detail, run, previous, hash"

// Filter picks entries; empty fields pick all.
type Filter struct {
	Since, Until time.Time // Until is not included
	Machine      string    // exact, in any case
	KeyID        string    // the beginning
	OSUser       string
	Action       Action
	Run          string
	from         int64 // the first number
	Limit        int   // the newest so many; 0: all
}

// List returns entries in order.
func (l *Log) List(ctx context.Context, f Filter) ([]Entry, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var out []Entry
	err := each(ctx, l.db, f, func(e Entry) error {
		out = append(out, e)
		return nil
	})
	if n := len(out); err == nil && f.Limit > 0 && n > f.Limit {
		out = out[n-f.Limit:]
	}
	return out, err
}

// each reads in order of rows, whatever they hold.
func each(ctx context.Context, q querier, f Filter, do func(Entry) error) error {
	rows, err := q.QueryContext(ctx, "SELECT "+columns+`,
		typeof(time) || typeof(action) || typeof(os_user) || typeof(identity) || typeof(host) || typeof(machine) || typeof(key_id) ||
		typeof(source) || typeof(reason) || typeof(detail) || typeof(run) = 'texttexttexttexttexttexttexttexttexttexttext' FROM entries
		WHERE (?1 = '' OR machine = ?1 COLLATE NOCASE) AND (?2 = '' OR substr(key_id, 1, length(?2)) = ?2 COLLATE NOCASE)
		AND (?3 = '' OR os_user = ?3 COLLATE NOCASE) AND (?4 = '' OR action = ?4) AND (?5 = '' OR run = ?5) AND seq >= ?6 ORDER BY seq`, f.Machine, f.KeyID, f.OSUser, f.Action, f.Run, f.from)
	if err != nil {
		return fmt.Errorf("read audit: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var e Entry
		var at string
		var previous, hash []byte
		var asWritten bool
		if err := rows.Scan(&e.Seq, &at, &e.Action, &e.OSUser, &e.Identity, &e.Host, &e.Machine, &e.KeyID, &e.Source, &e.Reason, &e.Detail, &e.Run, &previous, &hash, &asWritten); err != nil {
			return fmt.Errorf("read audit: entry after %d: %w", e.Seq, err)
		}
		e.Previous, e.Hash = hex.EncodeToString(previous), hex.EncodeToString(hash)
		// What is not in the form it was written in leaves the zero time, which the hash does not fit.
		if t, err := time.Parse(time.RFC3339Nano, at); err == nil && asWritten && t.Format(time.RFC3339Nano) == at {
			e.Time = t
		}
		if !f.Since.IsZero() && e.Time.Before(f.Since) || !f.Until.IsZero() && !e.Time.Before(f.Until) {
			continue
		}
		if err := do(e); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read audit: %w", err)
	}
	return nil
}

// BrokenError says where the chain is broken first.
type BrokenError struct {
	Seq    int64 // the entry where it shows
	Reason string
}

func (e *BrokenError) Error() string {
	return fmt.Sprintf("audit is broken at entry %d: %s", e.Seq, e.Reason)
}

var errStop = errors.New("stop")

// Verify reads the whole log and returns its head. A [*BrokenError] names the first entry that does not fit: its content
// or hash was changed, entries before it are missing or in another order, or the log ends before its kept head or before
// one of the heads given, which were noted earlier.
func (l *Log) Verify(ctx context.Context, noted ...Head) (Head, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	kept, ok, err := readHead(l.path + ".head")
	if err != nil {
		return Head{}, fmt.Errorf("verify audit: %w", err)
	}
	var last Head
	if ok {
		noted = append([]Head{kept}, noted...)
	}
	want := map[int64]string{}
	for _, h := range noted {
		if other, ok := want[h.Seq]; ok && other != h.Hash {
			return Head{}, &BrokenError{h.Seq, "two heads for one entry were given, and they differ"}
		}
		want[h.Seq] = h.Hash
	}
	var broken *BrokenError
	fail := func(seq int64, reason string) error {
		broken = &BrokenError{seq, reason}
		return errStop
	}
	err = each(ctx, l.db, Filter{}, func(e Entry) error {
		sum := e.sum()
		switch {
		case e.Seq != last.Seq+1:
			return fail(e.Seq, fmt.Sprintf("entries %d to %d are missing", last.Seq+1, e.Seq-1))
		case e.Hash != hex.EncodeToString(sum[:]):
			return fail(e.Seq, "its content is not what was written")
		case e.Previous != last.Hash:
			return fail(e.Seq, "it does not follow from the entry before it")
		}
		if h, ok := want[e.Seq]; ok && h != e.Hash {
			return fail(e.Seq, "it is not the one that was noted as head")
		}
		last = Head{e.Seq, e.Hash}
		return nil
	})
	if broken != nil {
		return last, hint.Wrap(broken, "keep the file as it is; entries before this one are intact")
	}
	if err != nil {
		return last, hint.Wrap(&BrokenError{last.Seq + 1, err.Error()}, "the file is damaged; entries before this one are intact")
	}
	for _, h := range noted {
		if h.Seq > last.Seq {
			return last, hint.Wrap(&BrokenError{last.Seq + 1, fmt.Sprintf("the log ends here, but entry %d was written", h.Seq)}, "entries were cut off at the end; the rest is intact")
		}
	}
	if !ok && last.Seq > 0 {
		return last, hint.Wrap(&BrokenError{last.Seq, "the file that keeps its head is missing, so a cut tail would not show"}, "look for the file "+filepath.Base(l.path)+".head"+" in a backup")
	}
	return last, nil
}

// ExportJSONL writes one JSON object per line, complete enough to check the chain elsewhere.
func (l *Log) ExportJSONL(ctx context.Context, w io.Writer, f Filter) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return l.export(ctx, f, func(e Entry) error { return enc.Encode(e) })
}

// ExportCSV writes a table with a header. Cells that a spreadsheet would take for a formula get an apostrophe in front.
func (l *Log) ExportCSV(ctx context.Context, w io.Writer, f Filter) error {
	out := table.NewWriter(w)
	out.Write("seq", "time", "action", "os_user", "identity", "host", "machine", "key_id", "source", "reason", "detail", "previous", "hash", "run")
	err := l.export(ctx, f, func(e Entry) error {
		out.Write(strconv.FormatInt(e.Seq, 10), e.Time.Format(time.RFC3339Nano), string(e.Action), e.OSUser, e.Identity, e.Host, e.Machine, e.KeyID, e.Source, e.Reason, e.Detail, e.Previous, e.Hash, e.Run)
		return nil
	})
	if err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("export audit: %w", err)
	}
	return nil
}

func (l *Log) export(ctx context.Context, f Filter, do func(Entry) error) error {
	entries, err := l.List(ctx, f)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := do(e); err != nil {
			return fmt.Errorf("export audit: %w", err)
		}
	}
	return nil
}
