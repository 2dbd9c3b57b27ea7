-- Times are nanoseconds since 1970 (UTC), 0 for none. Nothing here is secret but passwords.sealed and slots.wrapped, and
-- both are encrypted.
CREATE TABLE vault (only INTEGER PRIMARY KEY CHECK (only = 1), id TEXT NOT NULL);
INSERT INTO vault VALUES (1, lower(hex(randomblob(16))));

CREATE TABLE slots (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  kind    TEXT NOT NULL,
  label   TEXT NOT NULL,
  wrapped BLOB NOT NULL,
  created INTEGER NOT NULL
);

CREATE TABLE refs (
  id          INTEGER PRIMARY KEY,
  source      TEXT NOT NULL,
  source_key  TEXT NOT NULL,
  key_id      TEXT NOT NULL,
  volume_id   TEXT NOT NULL,
  volume      TEXT NOT NULL,
  name        TEXT NOT NULL,
  fqdn        TEXT NOT NULL,
  serial      TEXT NOT NULL,
  device_id   TEXT NOT NULL,
  dn          TEXT NOT NULL,
  created     INTEGER NOT NULL,
  deleted     INTEGER NOT NULL,
  stale       INTEGER NOT NULL,
  stale_cause TEXT NOT NULL,
  seen        INTEGER NOT NULL,
  state       TEXT NOT NULL DEFAULT '',
  state_note  TEXT NOT NULL DEFAULT '',
  state_at    INTEGER NOT NULL DEFAULT 0,
  UNIQUE (source, source_key)
);
CREATE INDEX refs_key ON refs (key_id);
CREATE INDEX refs_name ON refs (name);
CREATE INDEX refs_fqdn ON refs (fqdn);
CREATE INDEX refs_serial ON refs (serial COLLATE NOCASE) WHERE serial != '';
CREATE INDEX refs_device ON refs (device_id) WHERE device_id != '';
CREATE INDEX refs_dn ON refs (dn COLLATE NOCASE) WHERE dn != '';

CREATE TABLE passwords (
  ref    INTEGER PRIMARY KEY REFERENCES refs (id),
  sealed BLOB NOT NULL,
  at     INTEGER NOT NULL
);

CREATE TABLE sources (
  source TEXT PRIMARY KEY,
  synced INTEGER NOT NULL,
  full   INTEGER NOT NULL
) WITHOUT ROWID;
