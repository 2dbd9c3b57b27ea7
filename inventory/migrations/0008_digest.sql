-- The machines as they were merged, packed into a few blobs, so that all of them are read without reading 50,000 rows; see digest.go.
-- It is derived and may be emptied at any time. Only the program that wrote it (maker) believes it.
CREATE TABLE digest (
  scope  TEXT NOT NULL,
  part   INTEGER NOT NULL,
  n      INTEGER NOT NULL,   -- number in digest_log that it is as of
  rows   INTEGER NOT NULL,   -- in all parts
  maker  TEXT NOT NULL,
  packed BLOB NOT NULL,
  PRIMARY KEY (scope, part)
);
-- Which machines changed since, whoever changed them. A long log is worth less than it costs: then the digest is dropped with it, and
-- nothing is noted while there is none.
CREATE TABLE digest_log (n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL);
CREATE TRIGGER digest_log_long AFTER INSERT ON digest_log WHEN new.n - (SELECT min(n) FROM digest_log) >= 5000
  BEGIN DELETE FROM digest; DELETE FROM digest_log; END;
CREATE TRIGGER digest_machine_in AFTER INSERT ON machines WHEN EXISTS (SELECT 1 FROM digest)
  BEGIN INSERT INTO digest_log (id) VALUES (new.id); END;
CREATE TRIGGER digest_machine AFTER UPDATE ON machines WHEN EXISTS (SELECT 1 FROM digest)
  BEGIN INSERT INTO digest_log (id) VALUES (new.id); END;
CREATE TRIGGER digest_machine_out AFTER DELETE ON machines WHEN EXISTS (SELECT 1 FROM digest)
  BEGIN INSERT INTO digest_log (id) VALUES (old.id); END;
CREATE TRIGGER digest_record_in AFTER INSERT ON records WHEN EXISTS (SELECT 1 FROM digest)
  BEGIN INSERT INTO digest_log (id) VALUES (new.machine_id); END;
CREATE TRIGGER digest_record AFTER UPDATE ON records WHEN EXISTS (SELECT 1 FROM digest)
  BEGIN INSERT INTO digest_log (id) SELECT new.machine_id UNION SELECT old.machine_id; END;
CREATE TRIGGER digest_record_out AFTER DELETE ON records WHEN EXISTS (SELECT 1 FROM digest)
  BEGIN INSERT INTO digest_log (id) VALUES (old.machine_id); END;
CREATE TRIGGER digest_field_in AFTER INSERT ON operator_fields WHEN EXISTS (SELECT 1 FROM digest)
  BEGIN INSERT INTO digest_log (id) VALUES (new.machine_id); END;
CREATE TRIGGER digest_field AFTER UPDATE ON operator_fields WHEN EXISTS (SELECT 1 FROM digest)
  BEGIN INSERT INTO digest_log (id) SELECT new.machine_id UNION SELECT old.machine_id; END;
CREATE TRIGGER digest_field_out AFTER DELETE ON operator_fields WHEN EXISTS (SELECT 1 FROM digest)
  BEGIN INSERT INTO digest_log (id) VALUES (old.machine_id); END;
CREATE TRIGGER digest_tag_in AFTER INSERT ON operator_tags WHEN EXISTS (SELECT 1 FROM digest)
  BEGIN INSERT INTO digest_log (id) VALUES (new.machine_id); END;
CREATE TRIGGER digest_tag AFTER UPDATE ON operator_tags WHEN EXISTS (SELECT 1 FROM digest)
  BEGIN INSERT INTO digest_log (id) SELECT new.machine_id UNION SELECT old.machine_id; END;
CREATE TRIGGER digest_tag_out AFTER DELETE ON operator_tags WHEN EXISTS (SELECT 1 FROM digest)
  BEGIN INSERT INTO digest_log (id) VALUES (old.machine_id); END;
CREATE TRIGGER digest_probe_in AFTER INSERT ON probes WHEN EXISTS (SELECT 1 FROM digest)
  BEGIN INSERT INTO digest_log (id) VALUES (new.machine_id); END;
CREATE TRIGGER digest_probe AFTER UPDATE ON probes WHEN EXISTS (SELECT 1 FROM digest)
  BEGIN INSERT INTO digest_log (id) SELECT new.machine_id UNION SELECT old.machine_id; END;
CREATE TRIGGER digest_probe_out AFTER DELETE ON probes WHEN EXISTS (SELECT 1 FROM digest)
  BEGIN INSERT INTO digest_log (id) VALUES (old.machine_id); END;
-- A source that said its records again (see 0007) may come before others now, at every machine that both know.
CREATE TRIGGER digest_confirmed AFTER UPDATE OF confirmed_at ON sources WHEN new.confirmed_at != old.confirmed_at AND EXISTS (SELECT 1 FROM digest)
  BEGIN DELETE FROM digest; DELETE FROM digest_log; END;
