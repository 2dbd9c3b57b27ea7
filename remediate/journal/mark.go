package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Word is what somebody judged a machine by hand.
type Word string

// The words of marks. Fixed counts until a newer answer; replaced and excluded machines leave the count until the mark is
// taken back; suspect is what a machine is when its case was carried over from another incident.
const (
	MarkFixed    Word = "fixed"
	MarkReplaced Word = "replaced"
	MarkExcluded Word = "excluded"
	MarkSuspect  Word = "suspect"
)

// Act is one act of marking: many machines, one word, one reason.
type Act struct {
	Number   int64     `json:"number"` // in the feed
	Incident string    `json:"incident"`
	Word     Word      `json:"as"`
	Reason   string    `json:"reason"`
	Who      string    `json:"who"`
	Time     time.Time `json:"time"`
	Machines int       `json:"machines"`
	Undone   int64     `json:"undone,omitempty"` // number of the act that took it back
	UndoneBy string    `json:"undone_by,omitempty"`
}

// Mark judges machines by hand, all of them or none, and returns the number of the act. Word is fixed, replaced or
// excluded; a reason is required. Errors: *NoIncidentError, *ClosedIncidentError.
func (j *Journal) Mark(ctx context.Context, incident string, machines []string, word Word, reason, who string) (int64, error) {
	var act int64
	err := j.change(ctx, func(tx *sql.Tx, now time.Time, n int64) error {
		act = n
		if _, err := openIncident(ctx, tx, incident); err != nil {
			return err
		}
		switch {
		case word != MarkFixed && word != MarkReplaced && word != MarkExcluded:
			return hint.Wrap(fmt.Errorf("%q is no word to mark machines with", word), "take fixed, replaced or excluded")
		case strings.TrimSpace(reason) == "":
			return hint.Wrap(errors.New("a mark needs a reason"), "say why, in one line: others will ask")
		case len(machines) == 0:
			return errors.New("no machine to mark")
		}
		list, err := encode(machines)
		if err != nil {
			return err
		}
		if _, err = tx.ExecContext(ctx, `INSERT INTO marks (n, incident, machine, word, reason, who, time)
			SELECT DISTINCT ?, ?, value, ?, ?, ?, ? FROM json_each(?)`, n, incident, string(word), reason, who, ms(now), list); err != nil {
			return err
		}
		return takeMarks(ctx, tx, incident, n)
	})
	if err != nil {
		return 0, fmt.Errorf("mark machines: %w", err)
	}
	return act, nil
}

// Unmark takes an act of marking back, and returns how many machines it had. An act that is not there or was taken back
// already is an error.
func (j *Journal) Unmark(ctx context.Context, incident string, act int64, who string) (int, error) {
	var marked int
	err := j.change(ctx, func(tx *sql.Tx, _ time.Time, n int64) error {
		if _, err := openIncident(ctx, tx, incident); err != nil {
			return err
		}
		done, err := tx.ExecContext(ctx, "UPDATE marks SET undone = ?, undone_by = ? WHERE n = ? AND incident = ? AND undone = 0", n, who, act, incident)
		if err != nil {
			return err
		}
		count, err := done.RowsAffected()
		if err != nil {
			return err
		}
		if marked = int(count); marked == 0 {
			return hint.Wrap(fmt.Errorf("incident %s has no mark numbered %d that stands", incident, act), "`fleetmend incident mark --list` shows them")
		}
		return takeMarks(ctx, tx, incident, act)
	})
	if err != nil {
		return 0, fmt.Errorf("take marks back: %w", err)
	}
	return marked, nil
}

// takeMarks brings the cases of an act's machines up to date with the marks.
func takeMarks(ctx context.Context, tx *sql.Tx, incident string, act int64) error {
	var list string
	if err := tx.QueryRowContext(ctx, "SELECT json_group_array(machine) FROM marks WHERE n = ? AND incident = ?", act, incident).Scan(&list); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, markRule, incident, list)
	return err
}

// Acts returns the acts of marking of an incident, newest first.
func (j *Journal) Acts(ctx context.Context, incident string) ([]Act, error) {
	rows, err := j.db.QueryContext(ctx, `SELECT n, word, reason, who, time, count(*), undone, undone_by FROM marks
		WHERE incident = ? GROUP BY n, word, reason ORDER BY n DESC`, incident)
	if err != nil {
		return nil, fmt.Errorf("read marks of incident %s: %w", incident, err)
	}
	acts, err := collect(rows, func(rows *sql.Rows) (a Act, err error) {
		var when int64
		err = rows.Scan(&a.Number, &a.Word, &a.Reason, &a.Who, &when, &a.Machines, &a.Undone, &a.UndoneBy)
		a.Incident, a.Time = incident, at(when)
		return a, err
	})
	if err != nil {
		return nil, fmt.Errorf("read marks of incident %s: %w", incident, err)
	}
	return acts, nil
}
