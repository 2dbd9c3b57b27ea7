-- guid is the objectGUID of the computer object in Active Directory, which stays when the computer is renamed or moved.
-- gone is when a reading first missed the key at its source, 0 while it is listed (or where that was before this column).
ALTER TABLE refs ADD COLUMN guid TEXT NOT NULL DEFAULT '';
ALTER TABLE refs ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;
CREATE INDEX refs_guid ON refs (guid) WHERE guid != '';

-- How far the events of each run in the journal were read for what they say about keys.
CREATE TABLE folded (run TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
