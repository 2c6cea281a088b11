-- Every statement of the backlog, by name. A colon names a parameter.

-- name: watch_none
-- Begin anew to say which folders are watched.
UPDATE folder SET watched = 0;

-- name: watch
-- This one is.
INSERT INTO folder(path) VALUES (:path) ON CONFLICT(path) DO UPDATE SET watched = 1;

-- name: open_of
-- The photos of a folder that have a way to go, or were given up.
SELECT job.id AS id, folder.path AS folder_path, rel, size, mtime_ns, job.inode AS inode FROM job JOIN folder ON folder.id = job.folder_id
WHERE folder.path = :path AND state IN ('ready', 'waiting', 'failed');

-- name: leave
-- It is not to be described: as if it were not there. Its answers are kept for a run that is about it.
UPDATE job SET state = 'gone', lease = NULL, updated_at = :now WHERE id = :id AND state IN ('ready', 'waiting', 'failed');

-- name: enqueue
-- A settled file: new, or with other content than we know. Work on an older content is void, its draft too.
-- A row that is running keeps its lease; its holder finds out by the generation. What was gone, or left out, and is
-- there again as it was, goes on where it stood: with its answers, and under suspicion if it was.
INSERT INTO job(folder_id, rel, state, priority, size, mtime_ns, inode, created_at, updated_at)
VALUES ((SELECT id FROM folder WHERE path = :folder), :rel, 'ready', :priority, :size, :mtime_ns, :inode, :now, :now)
ON CONFLICT(folder_id, rel) DO UPDATE SET
  size = excluded.size, mtime_ns = excluded.mtime_ns, inode = excluded.inode,
  state = CASE state WHEN 'running' THEN 'running' ELSE 'ready' END,
  priority = excluded.priority, generation = generation + 1,
  attempts = 0, due_at = 0, error = NULL, error_class = NULL, updated_at = excluded.updated_at,
  crashes = CASE WHEN (job.size, job.mtime_ns, job.inode) IS (excluded.size, excluded.mtime_ns, excluded.inode)
    THEN min(crashes, :most_crashes) ELSE 0 END,
  draft = CASE WHEN (job.size, job.mtime_ns, job.inode) IS (excluded.size, excluded.mtime_ns, excluded.inode)
    THEN draft END
WHERE (job.size, job.mtime_ns, job.inode) IS NOT (excluded.size, excluded.mtime_ns, excluded.inode)
   OR job.state = 'gone';

-- name: promote_due
-- Waiting rows whose time has come, or was set before the clock was put back. Kept apart from the claim, so that
-- its index holds claimable rows only.
UPDATE job SET state = 'ready', updated_at = :now
WHERE state = 'waiting' AND (due_at <= :now OR due_at > :farthest);

-- name: promote_expired
-- Rows whose holder has stopped renewing its lease.
UPDATE job SET state = 'ready', lease = NULL, updated_at = :now
WHERE state = 'running' AND lease_until < :now AND lease NOT IN (SELECT value FROM json_each(:held));

-- name: claim
-- Take the most urgent rows, each under a lease of its own. Rows that were running when the process died
-- come last and one at a time: whichever it was, it then dies alone, and the innocent are cleared.
UPDATE job SET
  state = 'running', lease = lower(hex(randomblob(16))), lease_until = :until,
  lease_generation = generation, updated_at = :now
WHERE id IN (
  SELECT job.id FROM job JOIN folder ON folder.id = job.folder_id
  WHERE job.state = 'ready' AND folder.watched AND (folder.paused_until <= :now OR folder.paused_until > :farthest)
    -- Changed in the middle of being moved on: its sidecar may be over there already.
    AND NOT EXISTS (SELECT 1 FROM handoff WHERE handoff.job_id = job.id AND begun IS NOT NULL)
    AND (job.crashes = 0 OR job.id = (
    SELECT suspect.id FROM job AS suspect JOIN folder AS home ON home.id = suspect.folder_id
    WHERE suspect.state = 'ready' AND suspect.crashes > 0 AND home.watched
      AND (home.paused_until <= :now OR home.paused_until > :farthest)
      AND NOT EXISTS (SELECT 1 FROM job AS busy WHERE busy.state = 'running' AND busy.crashes > 0)
    ORDER BY suspect.crashes, suspect.id LIMIT 1))
  ORDER BY job.priority DESC, job.id LIMIT :limit
)
RETURNING *, (SELECT path FROM folder WHERE folder.id = job.folder_id) AS folder_path;

-- name: renew
-- Still working on it.
UPDATE job SET lease_until = :until WHERE id = :id AND lease = :lease AND state = 'running';

-- name: save_draft
-- One more stage is done. Void when the lease or the content is no longer ours.
UPDATE job SET draft = :draft, updated_at = :now
WHERE id = :id AND lease = :lease AND state = 'running' AND generation = :generation;

-- name: holder
-- Who works on it.
SELECT lease FROM job WHERE id = :id;

-- name: finish
-- The journey is over. Not when the file changed meanwhile by another hand than ours: see `reopen`.
UPDATE job SET
  state = :state, error = :error, error_class = :error_class, attempts = :attempts,
  size = :size, mtime_ns = :mtime_ns, inode = :inode, draft = CASE WHEN :state IN ('failed', 'gone') THEN draft END,
  crashes = 0, lease = NULL, lease_until = NULL, lease_generation = NULL, updated_at = :now
WHERE id = :id AND lease = :lease AND state = 'running'
  AND (generation = :generation OR (size, mtime_ns, inode) IS (:size, :mtime_ns, :inode));

-- name: reopen
-- The journey is over, and there is newer content: on with that.
UPDATE job SET
  state = 'ready', draft = NULL, crashes = 0,
  lease = NULL, lease_until = NULL, lease_generation = NULL, updated_at = :now
WHERE id = :id AND lease = :lease AND state = 'running';

-- name: finish_recovered
-- A write that an earlier process completed without getting to say so.
UPDATE job SET state = 'done', size = :size, mtime_ns = :mtime_ns, inode = :inode, error = NULL, error_class = NULL,
  draft = NULL, crashes = 0, lease = NULL, lease_until = NULL, lease_generation = NULL, updated_at = :now
WHERE folder_id = (SELECT id FROM folder WHERE path = :folder) AND rel = :rel;

-- name: put_back
-- Not finished: ready again now, or at due_at. Newer content neither waits nor pays for what befell the older.
UPDATE job SET
  state = CASE WHEN :due_at <= :now OR generation <> :generation THEN 'ready' ELSE 'waiting' END, due_at = :due_at,
  attempts = CASE WHEN generation = :generation THEN :attempts ELSE attempts END,
  priority = min(priority, coalesce(:priority, priority)),
  error = CASE WHEN generation = :generation THEN :error END,
  error_class = CASE WHEN generation = :generation THEN :error_class END,
  lease = NULL, lease_until = NULL, lease_generation = NULL, updated_at = :now
WHERE id = :id AND lease = :lease AND state = 'running';

-- name: recover_by_hand
-- Rows that somebody who is no daemon held and died over: ready, nothing charged.
UPDATE job SET state = 'ready', lease = NULL, lease_until = NULL, updated_at = :now
WHERE state = 'running' AND lease LIKE :hand || '%';

-- name: recover_clean
-- Rows that an orderly end could not finish: ready, nothing charged.
UPDATE job SET state = 'ready', lease = NULL, lease_until = NULL, updated_at = :now
WHERE state = 'running' AND (lease IS NULL OR lease NOT LIKE :hand || '%');

-- name: recover_crashed
-- Rows that were running when the process died. Any of them may be why: they come last.
UPDATE job SET
  crashes = crashes + 1, priority = -10, state = 'ready', lease = NULL, lease_until = NULL, updated_at = :now
WHERE state = 'running' AND (lease IS NULL OR lease NOT LIKE :hand || '%');

-- name: recover_held
-- Rows that wait for a photo program, which may have ended, or for a consent: the settings may have changed.
UPDATE job SET state = 'ready', updated_at = :now
WHERE state = 'waiting' AND error_class IN (:held_class, :barred_class);

-- name: give_up
-- Rows that were there too often.
UPDATE job SET state = 'failed', error = :error, error_class = 'Crashed', updated_at = :now
WHERE state = 'ready' AND crashes >= :max_crashes
RETURNING *, (SELECT path FROM folder WHERE folder.id = job.folder_id) AS folder_path;

-- name: failed
-- The photos of a folder that were given up.
SELECT rel FROM job WHERE folder_id = (SELECT id FROM folder WHERE path = :path) AND state = 'failed';

-- name: forget_failed
-- Given up, and no longer there: nothing is left to mend.
UPDATE job SET state = 'gone', updated_at = :now
WHERE folder_id = (SELECT id FROM folder WHERE path = :path) AND rel = :rel AND state = 'failed';

-- name: retry
-- Bring failed rows back. What the process died of before keeps its place among the suspects, unless a person asks.
UPDATE job SET state = 'ready', attempts = 0, crashes = min(crashes, :most_crashes), due_at = 0, priority = :priority, error = NULL,
  error_class = NULL, updated_at = :now
WHERE state IN ('failed', 'waiting') AND (:prefix IS NULL OR id IN (
  -- Paths are bytes; joined text would be counted in characters.
  SELECT id FROM (
    SELECT job.id AS id, CAST(folder.path || X'2F' || job.rel AS BLOB) AS path
    FROM job JOIN folder ON folder.id = job.folder_id)
  WHERE path = :prefix OR substr(path, 1, length(:prefix) + 1) = CAST(:prefix || X'2F' AS BLOB)));

-- name: row_of
-- One photo's row, and whether it is in the middle of being moved on.
SELECT id, state, lease, draft, size, mtime_ns, inode,
  EXISTS (SELECT 1 FROM handoff WHERE handoff.job_id = job.id AND begun IS NOT NULL) AS moving
FROM job WHERE folder_id = :folder_id AND rel = :rel;

-- name: reopen_done
-- A photo that is done, and can be described better now.
UPDATE job SET state = 'ready', attempts = 0, crashes = 0, due_at = 0, priority = :priority, draft = NULL,
  error = NULL, error_class = NULL, updated_at = :now
WHERE state = 'done' AND id = :id;

-- name: hold
-- Keep the daemon from a photo: as if it were being worked on, under a lease that runs out by itself.
UPDATE job SET state = 'running', lease = :hand || lower(hex(randomblob(16))), lease_until = :until,
  lease_generation = generation, updated_at = :now
WHERE id = :id
RETURNING lease;

-- name: let_go
-- Done with it. A file that changed meanwhile is found by the next scan, as its fingerprint is another one.
UPDATE job SET state = :state, size = coalesce(:size, size), mtime_ns = coalesce(:mtime_ns, mtime_ns),
  inode = coalesce(:inode, inode), lease = NULL, lease_until = NULL, lease_generation = NULL, updated_at = :now
WHERE id = :id AND lease = :lease AND state = 'running';

-- name: pause_folder
-- Keep a folder's photos from being claimed for a while.
UPDATE folder SET paused_until = :until, paused_why = :why WHERE path = :path;

-- name: resume_folder
-- Claim them again.
UPDATE folder SET paused_until = 0, paused_why = NULL WHERE path = :path;

-- name: folder_scanned
-- A complete scan has ended; this is the disk and folder that was read.
UPDATE folder SET scanned_at = :now, device = :device, inode = :inode WHERE path = :path;

-- name: folder_identity
-- The disk and folder that stood there at the last complete scan.
SELECT device, inode FROM folder WHERE path = :path AND device IS NOT NULL;

-- name: knows
-- Whether this very content is here already.
SELECT 1 FROM job
WHERE folder_id = (SELECT id FROM folder WHERE path = :folder) AND rel = :rel AND state <> 'gone'
  AND (size, mtime_ns, inode) IS (:size, :mtime_ns, :inode);

-- name: counts
-- Rows by folder and state.
SELECT folder.path AS path, job.state AS state, count(*) AS rows FROM job JOIN folder ON folder.id = job.folder_id
GROUP BY folder.path, job.state;

-- name: folders
-- The folders and why some are paused.
SELECT id, path, watched, paused_until, paused_why, scanned_at FROM folder ORDER BY id;

-- name: troubles
-- What failed or waits after an error, newest first; what a photo program holds up comes last, there may be much.
SELECT folder.path AS folder_path, rel, state, error, error_class, attempts, due_at, job.updated_at
FROM job JOIN folder ON folder.id = job.folder_id
WHERE folder.watched AND error IS NOT NULL AND state IN ('failed', 'waiting', 'ready')
ORDER BY error_class IS :held_class, job.updated_at DESC, job.id DESC LIMIT :limit;

-- name: open_rows
-- Rows that still have a way to go, and those of them that wait for a photo program.
SELECT count(*) AS rows, count(*) FILTER (WHERE state = 'waiting' AND error_class = :held_class) AS held FROM job WHERE state IN ('ready', 'running', 'waiting')
  AND folder_id IN (SELECT id FROM folder WHERE watched AND (:path IS NULL OR path = :path));

-- name: awaits
-- Whether photos of this folder wait to be described, or to be moved on.
SELECT 1 FROM job JOIN folder ON folder.id = job.folder_id
WHERE folder.path = :path AND folder.watched AND (state IN ('ready', 'running', 'waiting')
  OR (state = 'done' AND EXISTS (SELECT 1 FROM handoff WHERE handoff.job_id = job.id))) LIMIT 1;

-- name: set_mark
-- Remember one thing about this process.
INSERT INTO mark(name, value) VALUES (:name, :value) ON CONFLICT(name) DO UPDATE SET value = excluded.value;

-- name: marks
-- Read them back.
SELECT name, value FROM mark;

-- name: send_nowhere
-- Begin anew to say where finished photos go.
UPDATE folder SET after = NULL;

-- name: send_to
-- Those of this folder go there.
UPDATE folder SET after = :after WHERE path = :path;

-- name: expect_handoff
-- A finished photo is to be moved on. One that is not finished is not: there is newer content.
INSERT INTO handoff(job_id, created_at)
SELECT job.id, :now FROM job JOIN folder ON folder.id = job.folder_id
WHERE folder.path = :folder AND rel = :rel AND state = 'done'
ON CONFLICT(job_id) DO UPDATE SET why = NULL, tried_at = 0;

-- name: handoffs
-- What is to be moved on, those first that were not tried for the longest time. A move that was begun is
-- brought to an end, whatever has become of photo and settings.
SELECT folder.path AS folder_path, rel, after, why, handoff.created_at, begun
FROM handoff JOIN job ON job.id = job_id JOIN folder ON folder.id = job.folder_id
WHERE folder.watched AND (begun IS NOT NULL OR (after IS NOT NULL AND state = 'done'))
  AND (:path IS NULL OR folder.path = :path)
ORDER BY tried_at, job_id LIMIT :limit;

-- name: standing
-- How one photo stands, and whether it is to be moved on.
SELECT job.id, state, size, mtime_ns, job.inode, handoff.job_id IS NOT NULL AS pending, why, begun
FROM job JOIN folder ON folder.id = job.folder_id LEFT JOIN handoff ON handoff.job_id = job.id
WHERE folder.path = :folder AND rel = :rel;

-- name: begin_handoff
-- The move of a finished photo is under way.
INSERT INTO handoff(job_id, created_at, begun) VALUES (:id, :now, :begun)
ON CONFLICT(job_id) DO UPDATE SET begun = excluded.begun;

-- name: call_off_handoff
-- It did not take place, and everything stands where it stood.
UPDATE handoff SET begun = NULL WHERE job_id = :id;

-- name: handoff_waits
-- It cannot take place yet.
UPDATE handoff SET why = :why, tried_at = coalesce(:now, tried_at) WHERE job_id = :id;

-- name: forget_handoff
-- There is nothing to be moved on any more.
DELETE FROM handoff WHERE job_id = :id;

-- name: left
-- The photo has gone on. Whatever comes under its name is new, also the same file put back.
UPDATE job SET size = 0, mtime_ns = 0, inode = 0, updated_at = :now WHERE id = :id AND state = 'done';

-- name: mount_known
-- Where the disk was mounted on which this destination lay.
SELECT mount FROM destination WHERE path = :path;

-- name: note_mount
-- It is mounted there.
INSERT INTO destination(path, mount) VALUES (:path, :mount) ON CONFLICT(path) DO UPDATE SET mount = excluded.mount;
