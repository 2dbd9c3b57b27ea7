package journal

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"

	"github.com/fleetmend/fleetmend/internal/sqlitefile"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// CaseList are all cases of an incident as of one number of the feed. It is small: a case is taken apart when it is asked
// for. It changes no more, and is safe for concurrent use.
type CaseList struct {
	incident string
	number   int64
	runs     map[int64]string
	rows     map[string]string // machine -> packed row
}

// staleCases is how many cases may have changed before the digest of an incident is made anew.
const staleCases = 1000

// take keeps a row by its machine.
func (l *CaseList) take(packed string) error {
	machine, err := sqlitefile.First(packed, caseTexts)
	l.rows[machine] = packed
	return err
}

// CaseList returns the cases of an incident: those that changed from their rows, the others from the digest, where there is one.
func (j *Journal) CaseList(ctx context.Context, incident string) (*CaseList, error) {
	l := &CaseList{incident: incident, rows: map[string]string{}}
	digested, read := 0, 0
	err := j.readCases(ctx, l, 0, func(rows int) {
		digested, l.rows = rows, make(map[string]string, rows)
	}, func(packed string) error {
		read++
		return l.take(packed)
	})
	if err != nil {
		return nil, fmt.Errorf("read cases: %w", err)
	}
	if digested == 0 || read-digested > staleCases {
		made := sqlitefile.Digest{Number: l.number}
		for _, machine := range slices.Sorted(maps.Keys(l.rows)) { // as they are asked for, more or less
			made.Add([]byte(l.rows[machine]))
		}
		j.db.KeepDigest(ctx, incident, &made, sqlitefile.Keeping{})
	}
	return l, nil
}

// Update takes into a list what changed since, and returns whose cases did, by the IDs of the plans. Nobody may use the list
// meanwhile.
func (j *Journal) Update(ctx context.Context, l *CaseList) (changed []string, err error) {
	err = j.readCases(ctx, l, l.number, nil, func(packed string) error {
		c, err := l.unpack(packed)
		l.rows[c.Machine] = packed
		changed = append(changed, c.Machine)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read cases: %w", err)
	}
	return changed, nil
}

// Number is the number of the feed that the cases are as of.
func (l *CaseList) Number() int64 { return l.number }

// Len is how many machines have a case.
func (l *CaseList) Len() int { return len(l.rows) }

// Case returns the case of a machine by the ID it had in the plan; false where nobody asked or marked it.
func (l *CaseList) Case(machine string) (Case, bool) {
	packed, found := l.rows[machine]
	if !found {
		return Case{}, false
	}
	c, err := l.unpack(packed)
	return c, err == nil // it is in the form it was packed in
}

// packedCase is a row of cases in one text; see unpack.
var packedCase = sqlitefile.Packed([]string{"n", "answer", "answer_run", "answer_at", "answer_n", "tried", "tried_run", "tried_at", "tried_n",
	"class", "attempts", "changed", "mark", "mark_at", "mark_n"}, []string{"machine", "answer_by", "tried_by", "reason", "mark_by", "mark_reason"})

// caseTexts is how many texts a packed case has, the machine first.
const caseTexts = 6

// Whole incidents are read in their order, changes by their number.
var (
	wholeIncident = "SELECT " + packedCase + " FROM cases WHERE incident = ? AND n > ? ORDER BY incident, machine"
	changedCases  = "SELECT " + packedCase + " FROM cases INDEXED BY cases_n WHERE incident = ? AND n > ? ORDER BY incident, machine"
)

// readCases calls each with the cases that changed after a number. Where digested is not nil it is called when
// there is a digest, whose cases come first, and then those that changed after it.
func (j *Journal) readCases(ctx context.Context, l *CaseList, after int64, digested func(rows int), each func(packed string) error) error {
	tx, err := j.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // only read
	if err := tx.QueryRowContext(ctx, "SELECT n FROM feed").Scan(&l.number); err != nil {
		return err
	}
	rows, err := tx.QueryContext(ctx, "SELECT n, id FROM runs")
	if err != nil {
		return err
	}
	l.runs = map[int64]string{}
	_, err = collect(rows, func(rows *sql.Rows) (n int64, err error) {
		var id string
		err = rows.Scan(&n, &id)
		l.runs[n] = id
		return n, err
	})
	if err != nil {
		return err
	}
	if digested != nil {
		_, err := sqlitefile.ReadDigest(ctx, tx, l.incident, func(number int64, rows int) error {
			after = number
			digested(rows)
			return nil
		}, each)
		if err != nil {
			return err
		}
	}
	query := wholeIncident
	if after > 0 {
		query = changedCases
	}
	rows, err = tx.QueryContext(ctx, query, l.incident, after)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var packed string
		if err := rows.Scan(&packed); err != nil {
			return err
		}
		if err := each(packed); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (l *CaseList) unpack(packed string) (Case, error) {
	c := Case{Incident: l.incident}
	row := sqlitefile.Unpack(packed, &c.Machine, &c.Answer.Route, &c.Tried.Route, &c.Tried.Reason, &c.Mark.By, &c.Mark.Reason)
	c.Number = row.Int()
	c.Answer.Word, c.Answer.Run, c.Answer.At, c.Answer.Number = Outcome(row.Word()), l.runs[row.Int()], at(row.Int()), row.Int()
	c.Tried.Word, c.Tried.Run, c.Tried.At, c.Tried.Number = row.Word(), l.runs[row.Int()], at(row.Int()), row.Int()
	c.Tried.Class, c.Tried.Attempts, c.Tried.Changed = route.Class(row.Word()), int(row.Int()), int(row.Int())
	c.Mark.Word, c.Mark.At, c.Mark.Number = Word(row.Word()), at(row.Int()), row.Int()
	return c, row.Err
}
