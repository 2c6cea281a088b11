-- Finished photos that have to be moved to where their watch folder says. Times as in schema.sql.

ALTER TABLE folder ADD COLUMN after BLOB;    -- where its finished photos go; NULL: they stay

CREATE TABLE handoff(
  job_id     INTEGER PRIMARY KEY REFERENCES job(id),
  created_at INTEGER NOT NULL,
  tried_at   INTEGER NOT NULL DEFAULT 0,     -- those that were not tried for the longest time come first
  why        TEXT,                           -- why it waits, in plain words; NULL: nothing is known against it
  begun      TEXT                            -- JSON: the move that is under way; its job is not claimed meanwhile
) STRICT;

-- Where the disk was mounted on which a destination lay, so that its bare mount point is not taken for it.
CREATE TABLE destination(path BLOB PRIMARY KEY, mount BLOB NOT NULL) STRICT;
