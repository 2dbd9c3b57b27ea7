package journal

// caseRule takes the rows of machines in runs into their cases: the one place where it is decided what a case keeps.
// It is used for one row in the transaction that changed it, and for all of them in the order of their numbers by
// [Journal.RebuildCases].
//
// The newest answer wins, and an attempt without an answer never erases one. An answer is clean, affected, fixed, undone
// or failed of a run that examines (it has a detect); an undo that failed is an attempt, for the machine is as it was.
// What a medium brings back from a run that is older than the answer known does not replace a fixed or undone one, and a
// clean one only when the medium fixed the machine: the stick lay in a drawer meanwhile.
const caseRule = `
INSERT INTO cases (incident, machine, n, answer, answer_run, answer_at, answer_n, answer_by,
                   tried, tried_run, tried_at, tried_n, tried_by, class, reason, attempts, changed)
SELECT incident, id, n, iif(said, word, ''), iif(said, run, 0), iif(said, at, 0), iif(said, n, 0), iif(said, route, ''),
       word, run, at, n, route, error, reason, attempts, changed
FROM (SELECT r.incident, m.id, m.n, m.run, m.route, m.error, m.reason, m.attempts, m.changed,
             iif(m.state = 'done', m.outcome, m.state) AS word, iif(m.state = 'done', m.ended, max(m.fixed_at, m.started)) AS at,
             m.state = 'done' AND r.detect != '' AND (m.outcome IN ('clean', 'affected', 'fixed', 'undone') OR m.outcome = 'failed' AND r.mode != 'undo') AS said
      FROM machines m JOIN runs r ON r.n = m.run
      WHERE m.n > 0 AND r.incident != '' AND (?1 = 0 OR m.run = ?1 AND m.pos = ?2)
      ORDER BY m.n)
WHERE true
ON CONFLICT (incident, machine) DO UPDATE SET n = max(n, excluded.n),
  answer     = iif(` + keepsAnswer + `, answer, excluded.answer),
  answer_run = iif(` + keepsAnswer + `, answer_run, excluded.answer_run),
  answer_at  = iif(` + keepsAnswer + `, answer_at, excluded.answer_at),
  answer_n   = iif(` + keepsAnswer + `, answer_n, excluded.answer_n),
  answer_by  = iif(` + keepsAnswer + `, answer_by, excluded.answer_by),
  tried = excluded.tried, tried_run = excluded.tried_run, tried_at = excluded.tried_at, tried_n = excluded.tried_n, tried_by = excluded.tried_by,
  class = excluded.class, reason = excluded.reason, attempts = excluded.attempts, changed = excluded.changed`

// keepsAnswer says when the answer that a case has stays.
const keepsAnswer = `excluded.answer = '' OR excluded.tried_by = 'medium' AND cases.answer_run > excluded.tried_run
  AND (cases.answer IN ('fixed', 'undone') OR cases.answer = 'clean' AND excluded.answer != 'fixed')`

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
