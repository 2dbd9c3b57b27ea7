-- Sign-ins of which it matters what came of them: those that were made before a machine had taken the account, those that were refused or
-- had no answer, and some that were accepted, so that a later run can ask there first. See remediate/signin.
CREATE TABLE signins (
  n       INTEGER PRIMARY KEY AUTOINCREMENT,
  account TEXT NOT NULL,                  -- in lower case; never a secret
  domain  TEXT NOT NULL,                  -- of the machine
  machine TEXT NOT NULL,                  -- its ID
  target  TEXT NOT NULL,                  -- JSON
  time    INTEGER NOT NULL,
  state   TEXT NOT NULL
) STRICT;
CREATE INDEX signins_account ON signins (account, time);
