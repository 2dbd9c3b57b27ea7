-- When a source last said again all that stands in its records: the time at which each was seen, where its own is older, unless it is
-- gone. A reading that finds nothing new writes this number instead of each record.
ALTER TABLE sources ADD COLUMN confirmed_at INTEGER NOT NULL DEFAULT 0;
