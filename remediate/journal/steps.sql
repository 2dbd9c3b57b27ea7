-- What routes did outside of machines, each call before it was made and after it; see remediate/route, Durable.
CREATE TABLE route_steps (
  run      INTEGER NOT NULL REFERENCES runs (n),
  pos      INTEGER NOT NULL,              -- of the machine; -1: what machines of the run share
  id       TEXT NOT NULL,
  seq      INTEGER NOT NULL,              -- of the event that says that it was planned first
  act      TEXT NOT NULL,
  resource TEXT NOT NULL,
  was      TEXT NOT NULL,
  now      TEXT NOT NULL,
  state    TEXT NOT NULL,
  keep     INTEGER NOT NULL,
  note     TEXT NOT NULL,
  at       INTEGER NOT NULL,
  PRIMARY KEY (run, pos, id)
) STRICT, WITHOUT ROWID;
