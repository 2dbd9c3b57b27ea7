-- The cases of each incident in a few blobs, so that all of them are read without reading 50,000 rows; see caselist.go. It is derived and may
-- be emptied at any time. Only the program that wrote it (maker) believes it. A case that changed since has a higher number in the feed.
CREATE TABLE digest (
  scope  TEXT NOT NULL,                   -- incident
  part   INTEGER NOT NULL,
  n      INTEGER NOT NULL,                -- number in the feed that it is as of
  rows   INTEGER NOT NULL,                -- in all parts
  maker  TEXT NOT NULL,
  packed BLOB NOT NULL,
  PRIMARY KEY (scope, part)
) STRICT;
