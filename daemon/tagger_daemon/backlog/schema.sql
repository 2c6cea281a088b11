-- The backlog: one row a watch folder, one row a photo. Times are milliseconds since the epoch (UTC).

CREATE TABLE folder(
  id           INTEGER PRIMARY KEY,
  path         BLOB NOT NULL UNIQUE,          -- absolute, as the file system spells it
  watched      INTEGER NOT NULL DEFAULT 1,    -- 0: no longer in the settings; its photos stay and are not claimed
  device       INTEGER,                       -- with inode: which disk and folder this was when last seen,
  inode        INTEGER,                       --   so that an unmounted or swapped one is noticed
  paused_until INTEGER NOT NULL DEFAULT 0,    -- its photos are not claimed before
  paused_why   TEXT,                          -- in plain words
  scanned_at   INTEGER                        -- end of the last complete scan
) STRICT;

CREATE TABLE job(
  id               INTEGER PRIMARY KEY,
  folder_id        INTEGER NOT NULL REFERENCES folder(id),
  rel              BLOB NOT NULL,             -- path below the folder
  state            TEXT NOT NULL CHECK(state IN ('ready','running','waiting','done','failed','gone')),
  priority         INTEGER NOT NULL DEFAULT 0, -- higher first: 20 by hand, 10 arrivals, 0 catch-up, -5 held up, -10 suspects
  due_at           INTEGER NOT NULL DEFAULT 0, -- when a waiting row becomes ready
  generation       INTEGER NOT NULL DEFAULT 1, -- contents seen under this path
  size             INTEGER NOT NULL,           -- fingerprint of the newest content: bytes,
  mtime_ns         INTEGER NOT NULL,           --   nanoseconds,
  inode            INTEGER NOT NULL,
  attempts         INTEGER NOT NULL DEFAULT 0, -- failures charged to the photo, on outcome and never on claim
  crashes          INTEGER NOT NULL DEFAULT 0, -- times the daemon died while this was running
  lease            TEXT,                       -- token of the one who works on it
  lease_until      INTEGER,
  lease_generation INTEGER,                    -- the content that was claimed
  draft            TEXT,                       -- JSON: the stages that are done
  error            TEXT,                       -- last error, in plain words
  error_class      TEXT,
  created_at       INTEGER NOT NULL,
  updated_at       INTEGER NOT NULL,
  UNIQUE(folder_id, rel)
) STRICT;

CREATE INDEX job_ready   ON job(priority DESC, id) WHERE state = 'ready';
CREATE INDEX job_suspect ON job(crashes, id)       WHERE state = 'ready' AND crashes > 0;
CREATE INDEX job_due     ON job(due_at)            WHERE state = 'waiting';
CREATE INDEX job_running ON job(lease_until)       WHERE state = 'running';
CREATE INDEX job_state   ON job(folder_id, state);

-- What the last process left behind: 'clean' is 1 after an orderly end, 'boot' names the machine's run.
CREATE TABLE mark(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
