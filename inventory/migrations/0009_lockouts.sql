-- After how much domains lock accounts, as the directory told when it was read last: a run sends a password that much less often.
CREATE TABLE lockouts (
	dns  TEXT PRIMARY KEY, -- of the domain, in lower case
	said TEXT NOT NULL     -- JSON, see Lockouts
);
