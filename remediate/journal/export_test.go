package journal

import (
	"context"
	"database/sql"
)

// Crossed returns the machines that are in flight in two runs, or whose claim is not that of the run in which they are in
// flight, at one moment.
func (j *Journal) Crossed(ctx context.Context) ([]string, error) {
	rows, err := j.db.QueryContext(ctx, `
		SELECT id FROM machines WHERE state IN ('leased', 'running', 'rebooting') GROUP BY id HAVING count(*) > 1
		UNION SELECT coalesce(m.id, c.machine) FROM (SELECT id, run FROM machines WHERE state IN ('leased', 'running', 'rebooting')) m
		FULL JOIN claims c ON c.machine = m.id AND c.run = m.run WHERE m.id IS NULL OR c.machine IS NULL`)
	if err != nil {
		return nil, err
	}
	return collect(rows, func(rows *sql.Rows) (id string, err error) { return id, rows.Scan(&id) })
}

// Digested is the number of the feed that the digest of an incident is as of, and how many cases it has; zeros where there is none.
func (j *Journal) Digested(ctx context.Context, incident string) (number int64, rows int, err error) {
	err = j.db.QueryRowContext(ctx, "SELECT coalesce(max(n), 0), coalesce(max(rows), 0) FROM digest WHERE scope = ?", incident).Scan(&number, &rows)
	return number, rows, err
}
