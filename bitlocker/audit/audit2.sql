-- The run of fleetmend that an entry tells of. With it an entry is written once, however often the run is read.
ALTER TABLE entries ADD COLUMN run TEXT NOT NULL DEFAULT '';
CREATE INDEX entries_run ON entries (run) WHERE run != '';
