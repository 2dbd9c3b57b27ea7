-- One row per act. time is RFC 3339 in UTC with nanoseconds, as it is hashed.
CREATE TABLE entries (
  seq       INTEGER PRIMARY KEY,
  time      TEXT NOT NULL,
  action    TEXT NOT NULL,
  os_user   TEXT NOT NULL,
  identity  TEXT NOT NULL,
  host      TEXT NOT NULL,
  machine   TEXT NOT NULL,
  key_id    TEXT NOT NULL,
  source    TEXT NOT NULL,
  reason    TEXT NOT NULL,
  detail    TEXT NOT NULL,
  previous  BLOB NOT NULL,
  hash      BLOB NOT NULL
);
CREATE TRIGGER entries_keep_content BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER entries_keep_rows BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER entries_grow BEFORE INSERT ON entries WHEN NEW.seq <= (SELECT coalesce(max(seq), 0) FROM entries)
  BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
