-- What a source notes of each of its objects, to see at the next roll call which it must read again; objects that are no
-- machine of its scope are noted beside the records, with the reason.
ALTER TABLE records ADD COLUMN stamp TEXT NOT NULL DEFAULT '';
CREATE TABLE left_out (
  source     TEXT NOT NULL,
  source_key TEXT NOT NULL,
  stamp      TEXT NOT NULL,
  why        TEXT NOT NULL,
  PRIMARY KEY (source, source_key)
) WITHOUT ROWID;

-- The account names of the groups that a source's machines are in, by which people call them: names of the records are
-- distinguished names.
CREATE TABLE group_names (
  source TEXT NOT NULL,
  dn     TEXT NOT NULL,
  name   TEXT NOT NULL,
  PRIMARY KEY (source, dn)
) WITHOUT ROWID;
