-- Times are nanoseconds since 1970 (UTC), 0 for none.
CREATE TABLE generation (only INTEGER PRIMARY KEY CHECK (only = 1), n INTEGER NOT NULL);
INSERT INTO generation VALUES (1, 1);

CREATE TABLE machines (
  id        TEXT PRIMARY KEY,
  conflicts TEXT NOT NULL DEFAULT '[]'
) WITHOUT ROWID;

CREATE TABLE records (
  source     TEXT NOT NULL,
  source_key TEXT NOT NULL,
  machine_id TEXT NOT NULL REFERENCES machines (id) DEFERRABLE INITIALLY DEFERRED,
  seen_at    INTEGER NOT NULL,
  gone       INTEGER NOT NULL DEFAULT 0,
  fields     TEXT NOT NULL,
  PRIMARY KEY (source, source_key)
) WITHOUT ROWID;
CREATE INDEX records_of_machine ON records (machine_id);

CREATE TABLE operator_fields (
  machine_id TEXT NOT NULL REFERENCES machines (id) ON DELETE CASCADE,
  field      TEXT NOT NULL,
  value      TEXT NOT NULL,
  set_at     INTEGER NOT NULL,
  PRIMARY KEY (machine_id, field)
) WITHOUT ROWID;

CREATE TABLE operator_tags (
  machine_id TEXT NOT NULL REFERENCES machines (id) ON DELETE CASCADE,
  tag        TEXT NOT NULL,
  present    INTEGER NOT NULL,
  PRIMARY KEY (machine_id, tag)
) WITHOUT ROWID;

CREATE TABLE probes (
  machine_id TEXT PRIMARY KEY REFERENCES machines (id) ON DELETE CASCADE,
  result     TEXT NOT NULL
) WITHOUT ROWID;
