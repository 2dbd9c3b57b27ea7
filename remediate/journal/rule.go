package journal

import (
	"fmt"
	"strings"
)

// caseRule takes the rows of machines in runs into their cases: the one place where it is decided what a case keeps.
// [caseOfRow] does it for one row, in the transaction that changed it, [casesOfAll] for all of them in the order of their
// numbers, for [Journal.RebuildCases], and [caseOfOne] for those of one machine, where a medium replaced an answer that a row had: what
// followed from that answer has to be found anew.
//
// The newest answer wins, and an attempt without an answer never erases one. An answer is clean, affected, fixed, undone
// or failed of a run that examines (it has a detect); an undo that failed is an attempt, for the machine is as it was.
// What was fixed and is found clean later stays fixed: the later look is its newest attempt. What a medium brings back from a run that is older than the answer known does not replace a fixed or undone one, and a
// clean one only when the medium fixed the machine: the stick lay in a drawer meanwhile. A machine that a run held or
// skipped was not attempted, so that what the attempt before found (it was silent) stays; one that is held for a medium was.
func caseRule(which string) string {
	return `
INSERT INTO cases (incident, machine, n, answer, answer_run, answer_at, answer_n, answer_by,
                   tried, tried_run, tried_at, tried_n, tried_by, class, reason, attempts, changed)
SELECT incident, id, n, iif(said, word, ''), iif(said, run, 0), iif(said, at, 0), iif(said, n, 0), iif(said, route, ''),
       word, run, at, n, route, error, reason, attempts, changed
FROM (SELECT r.incident, m.id, m.n, m.run, m.route, m.error, m.reason, m.attempts, m.changed,
             iif(m.state = 'done', m.outcome, m.state) AS word, iif(m.state = 'done', m.ended, max(m.fixed_at, m.started)) AS at,
             m.state = 'done' AND r.detect != '' AND (m.outcome IN ('clean', 'affected', 'fixed', 'undone') OR m.outcome = 'failed' AND r.mode != 'undo') AS said
      FROM machines m JOIN runs r ON r.n = m.run
      WHERE m.n > 0 AND r.incident != ''` + which + `
      ORDER BY m.n)
WHERE true
ON CONFLICT (incident, machine) DO UPDATE SET n = max(n, excluded.n)` +
		kept(keepsAnswer, "answer", "answer_run", "answer_at", "answer_n", "answer_by") +
		kept(keepsTried, "tried", "tried_run", "tried_at", "tried_n", "tried_by", "class", "reason", "attempts", "changed")
}

// Both stand apart, so that SQLite finds the one row by its key and does not look at every machine of every run for it.
var (
	caseOfRow  = caseRule(" AND m.run = ? AND m.pos = ?")
	casesOfAll = caseRule("")
	caseOfOne  = caseRule(" AND r.incident = ? AND m.id = ?")
)

// kept says that columns keep what they hold where a condition is true.
func kept(condition string, columns ...string) string {
	var set strings.Builder
	for _, c := range columns {
		fmt.Fprintf(&set, ",\n  %[1]s = iif(%[2]s, cases.%[1]s, excluded.%[1]s)", c, condition)
	}
	return set.String()
}

const (
	// keepsAnswer says when the answer that a case has stays. What was fixed and is found clean later stays fixed: the later look is
	// its newest attempt.
	keepsAnswer = `excluded.answer = '' OR excluded.answer = 'clean' AND cases.answer = 'fixed' OR excluded.tried_by = 'medium' AND cases.answer_run > excluded.tried_run
  AND (cases.answer IN ('fixed', 'undone') OR cases.answer = 'clean' AND excluded.answer != 'fixed')`
	// keepsTried says when the attempt that a case has stays.
	keepsTried = `cases.tried != '' AND excluded.tried IN ('held', 'skipped') AND excluded.tried_by != 'medium'`
)

// markRule takes the newest mark that stands into its case, for the machines of an incident that a JSON list names, or
// for all of them where the incident is empty.
const markRule = `
INSERT INTO cases (incident, machine, n, mark, mark_at, mark_n, mark_by, mark_reason)
SELECT k.incident, k.machine, k.n, coalesce(m.word, ''), coalesce(m.time, 0), coalesce(m.n, 0), coalesce(m.who, ''), coalesce(m.reason, '')
FROM (SELECT incident, machine, max(max(n, undone)) AS n FROM marks
      WHERE ?1 = '' OR incident = ?1 AND machine IN (SELECT value FROM json_each(?2))
      GROUP BY incident, machine) k
LEFT JOIN marks m ON m.incident = k.incident AND m.machine = k.machine
  AND m.n = (SELECT max(x.n) FROM marks x WHERE x.incident = k.incident AND x.machine = k.machine AND x.undone = 0)
WHERE true
ON CONFLICT (incident, machine) DO UPDATE SET n = max(n, excluded.n),
  mark = excluded.mark, mark_at = excluded.mark_at, mark_n = excluded.mark_n, mark_by = excluded.mark_by, mark_reason = excluded.mark_reason`

// nextNumber takes the next number of the feed; numberRow gives it to the row of a machine in a run.
const (
	nextNumber = "UPDATE feed SET n = n + 1"
	numberRow  = "UPDATE machines SET n = (SELECT n FROM feed) WHERE run = ? AND pos = ?"
)

// changesCase reports whether a case knows of a machine in this state: where it enters or leaves one, its case changes.
func changesCase(s State) bool { return s == Done || s == Rebooting }
