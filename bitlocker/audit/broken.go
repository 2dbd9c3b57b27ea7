package audit

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, os.ErrNotExist)
}

// successor names the nth log that follows the one at path: audit-2.db, audit-3.db.
func successor(path string, n int) string {
	ext := filepath.Ext(path)
	return fmt.Sprintf("%s-%d%s", strings.TrimSuffix(path, ext), n, ext)
}

// Broken lists the logs that were found broken and left as they are, the oldest first.
func (l *Log) Broken() []string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var out []string
	for path, n := l.first, 2; path != l.path; path, n = successor(l.first, n), n+1 {
		out = append(out, path)
	}
	return out
}

// sound gives the last entry of a log that may be continued: its head file names an entry that is there, with that hash,
// and what follows the head (which lags behind where a process ended between commit and head) follows from it. A log of
// which that is not true gives a [*BrokenError].
func (l *Log) sound(ctx context.Context, tx *sql.Tx) (Head, error) {
	last, err := lastOf(ctx, tx)
	if err != nil {
		return last, err
	}
	kept, ok, err := readHead(l.path + ".head")
	switch {
	case errors.As(err, new(*fs.PathError)): // what cannot be read now, such as a file that another program holds, says nothing of the log
		return last, err
	case err != nil:
		return last, &BrokenError{last.Seq, "its head cannot be read: " + err.Error()}
	case !ok:
		return last, &BrokenError{last.Seq, "the file that keeps its head is missing"}
	case kept.Seq > last.Seq:
		return last, &BrokenError{last.Seq + 1, fmt.Sprintf("the log ends here, but its head says %d: entries are missing", kept.Seq)}
	}
	before := Head{Seq: max(kept.Seq-1, 0)}
	var broken *BrokenError
	err = each(ctx, tx, Filter{from: kept.Seq}, func(e Entry) error {
		sum := e.sum()
		switch {
		case e.Seq != before.Seq+1:
			broken = &BrokenError{e.Seq, fmt.Sprintf("entry %d is missing", before.Seq+1)}
		case e.Seq == kept.Seq && e.Hash != kept.Hash:
			broken = &BrokenError{e.Seq, "it is not the entry that the kept head names: the log was replaced"}
		case e.Seq > kept.Seq && e.Previous != before.Hash, e.Hash != hex.EncodeToString(sum[:]):
			broken = &BrokenError{e.Seq, "it is not what was written"}
		}
		before = Head{e.Seq, e.Hash}
		if broken != nil {
			return errStop
		}
		return nil
	})
	if broken != nil {
		return last, broken
	}
	return last, err
}

// succeed begins the log that follows a broken one and says so, in its first entry and to whoever listens.
func (l *Log) succeed(ctx context.Context, broken *BrokenError) error {
	old := l.path
	found, err := lastOf(ctx, l.db)
	if err != nil {
		return errors.Join(broken, err)
	}
	detail := fmt.Sprintf("%s is broken at entry %d: %s; it ends with %s", filepath.Base(old), broken.Seq, broken.Reason, found)
	if kept, ok, err := readHead(old + ".head"); err == nil && ok {
		detail += ", and the head kept beside it is " + kept.String()
	}
	n := 2
	for last := l.first; last != old; n++ {
		last = successor(l.first, n)
	}
	if err := l.open(ctx, successor(l.first, n)); err != nil {
		return errors.Join(broken, err)
	}
	if head, err := lastOf(ctx, l.db); err != nil || head.Seq > 0 {
		return err
	}
	if _, err := l.append(ctx, []Entry{{Action: Begin, Detail: detail}}, false); err != nil {
		return err
	}
	l.tell(fmt.Sprintf("the audit %s is broken at entry %d (%s); it stays as it is, and a new one begins in %s. Keep both, with their .head files, and find out who changed it",
		old, broken.Seq, broken.Reason, l.path))
	return nil
}

// identity is what makes an entry of a run the same one when it is told again.
func (e Entry) identity() Entry {
	e.clean()
	return Entry{Run: e.Run, Action: e.Action, Machine: e.Machine, KeyID: e.KeyID, Detail: e.Detail}
}

// writtenOf adds the entries of a run that the log has, once for a run.
func (l *Log) writtenOf(ctx context.Context, tx *sql.Tx, run string, written map[Entry]bool) error {
	if written[Entry{Run: run}] {
		return nil
	}
	written[Entry{Run: run}] = true
	rows, err := tx.QueryContext(ctx, "SELECT action, machine, key_id, detail FROM entries WHERE run = ?1 OR run = '' AND reason = 'run ' || ?1", run)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		e := Entry{Run: run}
		if err := rows.Scan(&e.Action, &e.Machine, &e.KeyID, &e.Detail); err != nil {
			return err
		}
		written[e] = true
	}
	return rows.Err()
}

// VerifyEarlier is [Log.Verify] for one of the logs that [Log.Broken] lists.
func (l *Log) VerifyEarlier(ctx context.Context, path string) (Head, error) {
	earlier := &Log{first: path, operator: l.operator, now: l.now, tell: func(string) {}}
	if err := earlier.open(ctx, path); err != nil {
		return Head{}, err
	}
	defer func() { _ = earlier.Close() }()
	return earlier.Verify(ctx)
}

// VerifyBroken says what is wrong with the records that were found broken and are not continued; nil where there is none.
func (l *Log) VerifyBroken(ctx context.Context) error {
	var errs []error
	for _, path := range l.Broken() {
		_, err := l.VerifyEarlier(ctx, path)
		if err == nil {
			err = errors.New("it reads as sound now, and was found broken when the next was begun: somebody put it back")
		}
		errs = append(errs, fmt.Errorf("the record before it, %s: %w", path, err))
	}
	return errors.Join(errs...)
}
