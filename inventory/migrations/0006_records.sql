-- Records get a number, so that they are appended to the table as they come, and the indexes hold the number instead of the
-- key. What a machine is looked up by stands in columns of its own, as save.go writes it: an index over a part of the JSON
-- text costs reading the text for each index at each write.
CREATE TABLE numbered (
  source      TEXT NOT NULL,
  source_key  TEXT NOT NULL,
  machine_id  TEXT NOT NULL REFERENCES machines (id) DEFERRABLE INITIALLY DEFERRED,
  seen_at     INTEGER NOT NULL,
  gone        INTEGER NOT NULL DEFAULT 0,
  fields      TEXT NOT NULL,
  stamp       TEXT NOT NULL DEFAULT '',
  by_name     TEXT,
  by_fqdn     TEXT,
  by_serial   TEXT,
  by_owner    TEXT,
  by_account  TEXT,
  by_guid     TEXT,
  by_device   TEXT,
  PRIMARY KEY (source, source_key)
);
INSERT INTO numbered SELECT source, source_key, machine_id, seen_at, gone, fields, stamp,
  lower(substr(fields ->> '$.name', instr(fields ->> '$.name', '\') + 1)), lower(fields ->> '$.fqdn'), lower(fields ->> '$.serial'),
  lower(fields ->> '$.owner'), lower(substr(fields ->> '$.owner', instr(fields ->> '$.owner', '\') + 1)),
  lower(fields ->> '$."claims.object_guid"'), lower(fields ->> '$."claims.entra_device_id"') FROM records ORDER BY source, source_key;
DROP TABLE records;
ALTER TABLE numbered RENAME TO records;
CREATE INDEX records_of_machine ON records (machine_id);
CREATE INDEX records_name ON records (by_name) WHERE by_name IS NOT NULL;
CREATE INDEX records_fqdn ON records (by_fqdn) WHERE by_fqdn IS NOT NULL;
CREATE INDEX records_serial ON records (by_serial) WHERE by_serial IS NOT NULL;
CREATE INDEX records_owner ON records (by_owner) WHERE by_owner IS NOT NULL;
CREATE INDEX records_account ON records (by_account) WHERE by_account IS NOT NULL;
CREATE INDEX records_guid ON records (by_guid) WHERE by_guid IS NOT NULL;
CREATE INDEX records_device ON records (by_device) WHERE by_device IS NOT NULL;
