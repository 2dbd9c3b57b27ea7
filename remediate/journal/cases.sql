-- An incident is the question "is it affected?" under a name; a case is what is known of one machine in it. Times are
-- milliseconds since 1970, UTC, 0 for none.
CREATE TABLE feed (                       -- what changes a case takes the next number
  only INTEGER PRIMARY KEY CHECK (only = 1),
  n    INTEGER NOT NULL
) STRICT;
INSERT INTO feed VALUES (1, 0);
CREATE TABLE incidents (
  id        TEXT PRIMARY KEY,             -- 20240719-crowdstrike; file-safe, never renamed
  playbook  TEXT NOT NULL,                -- whose detect decides
  digest    TEXT NOT NULL,                -- of its detect part, bound: another detect is another question
  start     INTEGER NOT NULL DEFAULT 0,   -- the time in which the harm was done
  "end"     INTEGER NOT NULL DEFAULT 0,   -- 0: it goes on
  operator  TEXT NOT NULL,
  opened    INTEGER NOT NULL,
  closed    INTEGER NOT NULL DEFAULT 0,
  closed_by TEXT NOT NULL DEFAULT '',
  replaces  TEXT NOT NULL DEFAULT '',     -- the incident whose cases were carried over as suspect
  n         INTEGER NOT NULL              -- number in the feed of its last change
) STRICT, WITHOUT ROWID;
ALTER TABLE runs ADD COLUMN incident TEXT NOT NULL DEFAULT '';      -- '': the run belongs to none
ALTER TABLE runs ADD COLUMN detect TEXT NOT NULL DEFAULT '';        -- digest of its detect part; '': it examines nothing
ALTER TABLE machines ADD COLUMN until INTEGER NOT NULL DEFAULT 0;   -- how long an awaited machine is awaited
ALTER TABLE machines ADD COLUMN n INTEGER NOT NULL DEFAULT 0;       -- number in the feed under which its case took this row
ALTER TABLE controls ADD COLUMN wave INTEGER NOT NULL DEFAULT 0;    -- of an approval
ALTER TABLE controls ADD COLUMN scope TEXT NOT NULL DEFAULT '';     -- machine IDs, one a line; '': the whole run
CREATE INDEX machines_id ON machines (id);
CREATE INDEX runs_incident ON runs (incident) WHERE incident != '';
CREATE TABLE claims (                     -- one run per machine: those leased, running or rebooting
  machine TEXT PRIMARY KEY,
  run     INTEGER NOT NULL                -- small: what is in flight, and what dead runs left
) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO claims SELECT m.id, m.run FROM machines m JOIN runs r ON r.n = m.run
  WHERE m.state IN ('leased', 'running', 'rebooting') AND r.status IN ('running', 'paused', 'waiting', 'interrupted') ORDER BY m.run DESC;
CREATE INDEX events_course ON events (run, seq) WHERE pos < 0;      -- what is about a run or a wave
CREATE TABLE marks (                      -- what people judged by hand
  n         INTEGER NOT NULL,             -- number in the feed of the act; all marks of one act share it
  incident  TEXT NOT NULL,
  machine   TEXT NOT NULL,
  word      TEXT NOT NULL,                -- fixed, replaced, excluded; suspect when carried over from another incident
  reason    TEXT NOT NULL,
  who       TEXT NOT NULL,
  time      INTEGER NOT NULL,
  undone    INTEGER NOT NULL DEFAULT 0,   -- number in the feed of the act that took it back
  undone_by TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (incident, machine, n)
) STRICT, WITHOUT ROWID;
CREATE INDEX marks_n ON marks (n);
CREATE TABLE cases (                      -- derived from machines and marks, in the transaction that changed them
  incident    TEXT NOT NULL,
  machine     TEXT NOT NULL,              -- inventory ID as it was in the plan
  n           INTEGER NOT NULL,           -- number in the feed of the last change
  answer      TEXT NOT NULL DEFAULT '',   -- the newest answer: clean, affected, fixed, undone, failed
  answer_run  INTEGER NOT NULL DEFAULT 0,
  answer_at   INTEGER NOT NULL DEFAULT 0,
  answer_n    INTEGER NOT NULL DEFAULT 0,
  answer_by   TEXT NOT NULL DEFAULT '',   -- route
  tried       TEXT NOT NULL DEFAULT '',   -- the newest attempt: an outcome, or rebooting
  tried_run   INTEGER NOT NULL DEFAULT 0,
  tried_at    INTEGER NOT NULL DEFAULT 0,
  tried_n     INTEGER NOT NULL DEFAULT 0,
  tried_by    TEXT NOT NULL DEFAULT '',
  class       TEXT NOT NULL DEFAULT '',   -- of the attempt's error
  reason      TEXT NOT NULL DEFAULT '',
  attempts    INTEGER NOT NULL DEFAULT 0, -- of the newest attempt's run
  changed     INTEGER NOT NULL DEFAULT 0,
  mark        TEXT NOT NULL DEFAULT '',   -- the newest mark that was not taken back
  mark_at     INTEGER NOT NULL DEFAULT 0,
  mark_n      INTEGER NOT NULL DEFAULT 0,
  mark_by     TEXT NOT NULL DEFAULT '',
  mark_reason TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (incident, machine)
) STRICT, WITHOUT ROWID;
CREATE INDEX cases_n ON cases (n);
