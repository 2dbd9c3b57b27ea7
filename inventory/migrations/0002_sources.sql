-- A machine that turned out to be another one leaves its ID behind, so that journals and plans still find it.
CREATE TABLE aliases (
  old_id     TEXT PRIMARY KEY,
  machine_id TEXT NOT NULL REFERENCES machines (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
) WITHOUT ROWID;

-- When each source was last read, and where an incremental reading goes on.
CREATE TABLE sources (
  source    TEXT PRIMARY KEY,
  read_at   INTEGER NOT NULL,
  full_at   INTEGER NOT NULL DEFAULT 0,
  cursor    TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
INSERT INTO sources (source, read_at) SELECT source, max(seen_at) FROM records GROUP BY source;
