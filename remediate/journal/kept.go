package journal

import (
	"context"
	"database/sql"
	"fmt"
)

// keptRuns bounds how far back [Journal.Kept] reads.
const keptRuns = 6

// Kept returns the IDs of the machines whose newest answer, of the newest few runs, said that they have kept the agent with this hash. It
// is a hint: a machine that has lost it since says so when it is asked.
func (j *Journal) Kept(ctx context.Context, hash string) (map[string]bool, error) {
	rows, err := j.db.QueryContext(ctx, `
		SELECT m.id, instr(r.result, ?) > 0
		FROM (SELECT n FROM runs ORDER BY n DESC LIMIT ?) x JOIN results r ON r.run = x.n JOIN machines m ON m.run = r.run AND m.pos = r.pos
		ORDER BY x.n`, fmt.Sprintf(`"kept":%q`, hash), keptRuns)
	if err != nil {
		return nil, fmt.Errorf("read which machines have kept the agent: %w", err)
	}
	kept := map[string]bool{}
	_, err = collect(rows, func(rows *sql.Rows) (struct{}, error) {
		var id string
		var has bool
		err := rows.Scan(&id, &has)
		if has {
			kept[id] = true
		} else {
			delete(kept, id)
		}
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("read which machines have kept the agent: %w", err)
	}
	return kept, nil
}
