-- The ledger: what became of every photo. Times are milliseconds since the epoch (UTC).

CREATE TABLE record(
  id           TEXT PRIMARY KEY,
  path         BLOB NOT NULL,               -- as the file system spells it
  outcome      TEXT NOT NULL,
  finished_at  INTEGER NOT NULL,
  day          TEXT NOT NULL,               -- the local date of finished_at, YYYY-MM-DD
  content_hash TEXT,                        -- of the picture data: survives a rename and an edit of the metadata
  body         TEXT NOT NULL,               -- the whole record as JSON
  stands       INTEGER NOT NULL,            -- 0: intended, the file is about to be replaced; 1: it happened
  audited      INTEGER NOT NULL DEFAULT 0   -- 1 once its line stands in the audit file
) STRICT;

CREATE INDEX record_day       ON record(day);
CREATE INDEX record_path      ON record(path);
CREATE INDEX record_content   ON record(content_hash) WHERE content_hash IS NOT NULL;
CREATE INDEX record_unaudited ON record(finished_at)  WHERE stands = 1 AND audited = 0;

CREATE INDEX record_intended  ON record(finished_at)  WHERE stands = 0;

-- What happens once a local day, and has happened.
CREATE TABLE occasion(
  name    TEXT NOT NULL,
  day     TEXT NOT NULL,
  done_at INTEGER NOT NULL,
  PRIMARY KEY(name, day)
) STRICT;
