package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/lazyregexp"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

// Incident is the question "is it affected?" under a name: the playbook whose detect decides, and the time in which the
// harm was done.
type Incident struct {
	ID       string    `json:"id"` // file-safe, never renamed
	Playbook string    `json:"playbook"`
	Digest   string    `json:"digest"`         // of the playbook's detect part, bound; see playbook.Playbook.DetectDigest
	Start    time.Time `json:"start,omitzero"` // zero: not known
	End      time.Time `json:"end,omitzero"`   // zero: it goes on
	Operator string    `json:"operator"`       // who opened it
	Opened   time.Time `json:"opened"`
	Closed   time.Time `json:"closed,omitzero"`
	ClosedBy string    `json:"closed_by,omitempty"`
	Replaces string    `json:"replaces,omitempty"` // whose cases were carried over as suspect
	Number   int64     `json:"number"`             // in the feed, of its last change

	File       string            `json:"playbook_file,omitempty"` // of the playbook, absolute; empty for a built-in one, or where a run opened it
	Parameters map[string]string `json:"parameters,omitempty"`    // that it was bound to, unless a run opened it
}

// IsOpen reports whether the incident takes runs and marks.
func (i *Incident) IsOpen() bool { return i.Closed.IsZero() }

// NoIncidentError says that no incident has this ID.
type NoIncidentError struct{ ID string }

func (e *NoIncidentError) Error() string { return fmt.Sprintf("no incident %q", e.ID) }

// IncidentExistsError says that an incident of this ID is there already.
type IncidentExistsError struct{ ID string }

func (e *IncidentExistsError) Error() string {
	return fmt.Sprintf("there is an incident %q already", e.ID)
}

// ClosedIncidentError says that the incident takes no runs and marks any more.
type ClosedIncidentError struct {
	ID, By string
	At     time.Time
}

func (e *ClosedIncidentError) Error() string {
	return fmt.Sprintf("incident %s was closed by %s at %s", e.ID, e.By, e.At.Local().Format("2006-01-02 15:04"))
}

// OtherQuestionError says that the incident in which a run was to be counted, and which it was to open, asks another question: it was
// opened since the plan was frozen, by one with a similar name.
type OtherQuestionError struct{ ID string }

func (e *OtherQuestionError) Error() string {
	return fmt.Sprintf("incident %s was opened meanwhile, and asks another question than this plan", e.ID)
}

const (
	listHint  = "see the incidents with `fleetmend incident list`"
	againHint = "open it again with `fleetmend incident open --again %s`"
)

var incidentID = lazyregexp.New(`^[0-9a-z][0-9a-z-]{0,62}$`)

// ValidIncident reports whether a text can be the ID of an incident: at most 63 lower-case letters, digits and hyphens, so
// that it is a file's name on every system.
func ValidIncident(id string) bool { return incidentID.MatchString(id) }

const incidentColumns = `id, playbook, digest, start, "end", operator, opened, closed, closed_by, replaces, n, file, parameters`

// Incidents returns all incidents, open ones first, the newest first among them.
func (j *Journal) Incidents(ctx context.Context) ([]Incident, error) {
	rows, err := j.db.QueryContext(ctx, "SELECT "+incidentColumns+" FROM incidents ORDER BY closed > 0, opened DESC, id")
	if err != nil {
		return nil, fmt.Errorf("read incidents: %w", err)
	}
	all, err := collect(rows, scanIncident)
	if err != nil {
		return nil, fmt.Errorf("read incidents: %w", err)
	}
	return all, nil
}

// Incident returns one incident by its ID; a *NoIncidentError where there is none.
func (j *Journal) Incident(ctx context.Context, id string) (*Incident, error) {
	i, err := incidentIn(ctx, j.db, id)
	if err != nil {
		return nil, fmt.Errorf("read incident: %w", err)
	}
	return i, nil
}

func incidentIn(ctx context.Context, q querier, id string) (*Incident, error) {
	rows, err := q.QueryContext(ctx, "SELECT "+incidentColumns+" FROM incidents WHERE id = ?", id)
	if err != nil {
		return nil, err
	}
	found, err := collect(rows, scanIncident)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, hint.Wrap(&NoIncidentError{ID: id}, listHint)
	}
	return &found[0], nil
}

func scanIncident(rows *sql.Rows) (i Incident, err error) {
	var start, end, opened, closed int64
	var parameters string
	err = rows.Scan(&i.ID, &i.Playbook, &i.Digest, &start, &end, &i.Operator, &opened, &closed, &i.ClosedBy, &i.Replaces, &i.Number, &i.File, &parameters)
	if err == nil && parameters != "" {
		err = json.Unmarshal([]byte(parameters), &i.Parameters)
	}
	i.Start, i.End, i.Opened, i.Closed = at(start), at(end), at(opened), at(closed)
	return i, err
}

// openIncident refuses one that takes nothing any more.
func openIncident(ctx context.Context, q querier, id string) (*Incident, error) {
	i, err := incidentIn(ctx, q, id)
	if err != nil {
		return nil, err
	}
	if !i.IsOpen() {
		return nil, hint.Wrapf(&ClosedIncidentError{ID: i.ID, By: i.ClosedBy, At: i.Closed}, againHint, i.ID)
	}
	return i, nil
}

// OpenIncident records a new incident, with the fields up to Operator, Replaces, File and Parameters of i. The cases of the incident that
// it replaces come over: machines marked as replaced or excluded stay so, all others are suspect, for what another detect
// said of them is no answer to this question. Errors: *IncidentExistsError; *NoIncidentError for the one to be replaced.
func (j *Journal) OpenIncident(ctx context.Context, i Incident) error {
	err := j.change(ctx, func(tx *sql.Tx, now time.Time, n int64) error { return insertIncident(ctx, tx, i, now, n) })
	if err != nil {
		return fmt.Errorf("open incident: %w", err)
	}
	return nil
}

func insertIncident(ctx context.Context, tx *sql.Tx, i Incident, now time.Time, n int64) error {
	if !ValidIncident(i.ID) {
		return hint.Wrap(fmt.Errorf("%q cannot be the ID of an incident", i.ID), "take at most 63 lower-case letters, digits and hyphens, as 20240719-crowdstrike")
	}
	if _, err := incidentIn(ctx, tx, i.ID); err == nil {
		return hint.Wrapf(&IncidentExistsError{ID: i.ID}, "take another name, or look at it with `fleetmend incident status %s`", i.ID)
	}
	if i.Replaces != "" {
		if _, err := incidentIn(ctx, tx, i.Replaces); err != nil {
			return err
		}
	}
	parameters := ""
	if len(i.Parameters) > 0 {
		var err error
		if parameters, err = encode(i.Parameters); err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO incidents ("+incidentColumns+") VALUES (?,?,?,?,?,?,?,0,'',?,?,?,?)",
		i.ID, i.Playbook, i.Digest, ms(i.Start), ms(i.End), i.Operator, ms(now), i.Replaces, n, i.File, parameters)
	if err != nil || i.Replaces == "" {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO marks (n, incident, machine, word, reason, who, time)
		SELECT ?, ?, machine, iif(mark IN ('replaced', 'excluded'), mark, 'suspect'),
		       iif(mark IN ('replaced', 'excluded'), mark_reason, 'carried over from ' || incident), ?, ? FROM cases WHERE incident = ?`,
		n, i.ID, i.Operator, ms(now), i.Replaces)
	if err != nil {
		return err
	}
	return takeMarks(ctx, tx, i.ID, n)
}

// SetWindow changes when the harm of an incident was done; a zero end means that it goes on.
func (j *Journal) SetWindow(ctx context.Context, id string, start, end time.Time) error {
	return j.changeIncident(ctx, id, "change", `UPDATE incidents SET n = (SELECT n FROM feed), start = ?2, "end" = ?3 WHERE id = ?1`, ms(start), ms(end))
}

// CloseIncident ends an incident: it takes no runs and marks any more. Closing a closed one changes nothing.
func (j *Journal) CloseIncident(ctx context.Context, id, who string) error {
	return j.changeIncident(ctx, id, "close", "UPDATE incidents SET n = (SELECT n FROM feed), closed_by = ?2, closed = ?3 WHERE id = ?1 AND closed = 0", who, ms(time.Now()))
}

// ReopenIncident takes the closing of an incident back.
func (j *Journal) ReopenIncident(ctx context.Context, id string) error {
	return j.changeIncident(ctx, id, "open", "UPDATE incidents SET n = (SELECT n FROM feed), closed_by = '', closed = 0 WHERE id = ?1")
}

func (j *Journal) changeIncident(ctx context.Context, id, verb, update string, args ...any) error {
	err := j.change(ctx, func(tx *sql.Tx, _ time.Time, n int64) error {
		if _, err := incidentIn(ctx, tx, id); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, update, append([]any{id}, args...)...)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s incident %s: %w", verb, id, err)
	}
	return nil
}

// change does something in a transaction of its own, under the next number of the feed.
func (j *Journal) change(ctx context.Context, do func(tx *sql.Tx, now time.Time, n int64) error) error {
	tx, err := j.write(ctx)
	if err != nil {
		return explain(err)
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	var n int64
	if err := tx.QueryRowContext(ctx, nextNumber+" RETURNING n").Scan(&n); err != nil {
		return explain(err)
	}
	if err := do(tx, time.Now(), n); err != nil {
		return explain(err)
	}
	return explain(tx.Commit())
}

// incidentOf finds the incident of a run that is about to be recorded: the one its plan names, opened where it is not
// there; else, for a retry or an undo, that of the run it follows.
func incidentOf(ctx context.Context, tx *sql.Tx, p *plan.Plan, detect string, now time.Time) (string, error) {
	id := p.Incident
	if former := p.Undoes + p.RetryOf; id == "" && former != "" {
		err := tx.QueryRowContext(ctx, "SELECT incident FROM runs WHERE id = ?", former).Scan(&id)
		if err != nil && !errors.Is(err, sql.ErrNoRows) { // a plan from another journal: it belongs to none
			return "", err
		}
	}
	if id == "" {
		return "", nil
	}
	i, err := openIncident(ctx, tx, id)
	if none := (*NoIncidentError)(nil); !errors.As(err, &none) {
		if err == nil && p.Asks && i.Digest != detect {
			return "", hint.Wrapf(&OtherQuestionError{ID: id}, "make the plan again, so that its incident gets a name of its own; or count its answers there with --incident %s", id)
		}
		return id, err
	}
	var n int64
	if err := tx.QueryRowContext(ctx, nextNumber+" RETURNING n").Scan(&n); err != nil {
		return "", err
	}
	return id, insertIncident(ctx, tx, Incident{ID: id, Playbook: p.Playbook.Name, Digest: detect, Operator: p.Operator}, now, n)
}
