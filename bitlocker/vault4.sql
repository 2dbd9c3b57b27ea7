-- The references in a few blobs, so that all of them are read without reading 100,000 rows; see list.go. It is derived and may be emptied
-- at any time. Only the program that wrote it (maker) believes it. There is no secret in it.
CREATE TABLE digest (
  scope  TEXT NOT NULL,
  part   INTEGER NOT NULL,
  n      INTEGER NOT NULL,   -- number in digest_log that it is as of
  rows   INTEGER NOT NULL,   -- in all parts
  maker  TEXT NOT NULL,
  packed BLOB NOT NULL,
  PRIMARY KEY (scope, part)
);
-- What was written, whatever it was.
CREATE TABLE generation (only INTEGER PRIMARY KEY CHECK (only = 1), n INTEGER NOT NULL);
INSERT INTO generation VALUES (1, 1);
-- Which references changed since, whoever changed them. A long log is worth less than it costs: then the digest is dropped with it, and
-- nothing is noted while there is none.
CREATE TABLE digest_log (n INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER NOT NULL);
CREATE TRIGGER digest_log_long AFTER INSERT ON digest_log WHEN new.n - (SELECT min(n) FROM digest_log) >= 5000
  BEGIN DELETE FROM digest; DELETE FROM digest_log; END;
CREATE TRIGGER digest_ref_in AFTER INSERT ON refs WHEN EXISTS (SELECT 1 FROM digest)
  BEGIN INSERT INTO digest_log (id) VALUES (new.id); END;
CREATE TRIGGER digest_ref AFTER UPDATE OF id, key_id, volume, name, fqdn, serial, device_id, dn, guid, created, state, deleted, stale, rotated ON refs
  WHEN EXISTS (SELECT 1 FROM digest)
  BEGIN INSERT INTO digest_log (id) VALUES (new.id); END;
CREATE TRIGGER digest_ref_out AFTER DELETE ON refs WHEN EXISTS (SELECT 1 FROM digest)
  BEGIN INSERT INTO digest_log (id) VALUES (old.id); END;
