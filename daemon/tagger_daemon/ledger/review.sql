-- What persons decided about proposals.

-- The decisions of a review that is under way; they go once they are carried out, or taken back. A person's own
-- words stay where the photo was refused: they were not written.
CREATE TABLE decision(
  proposal     TEXT NOT NULL,              -- id of the record
  content_hash TEXT NOT NULL,              -- of its picture
  part         TEXT NOT NULL,              -- photo, caption, keywords, description or keyword
  word         TEXT NOT NULL,              -- the keyword as it is compared; '' where it is not about a single one
  verdict      TEXT NOT NULL,              -- accept, reject, edit or add
  spelt        TEXT NOT NULL,              -- the keyword as it is spelt, or ''
  text         TEXT NOT NULL,              -- a person's text, or ''
  number       INTEGER NOT NULL,           -- in the order in which they were made, of one proposal
  PRIMARY KEY(proposal, part, word)
) STRICT, WITHOUT ROWID;

CREATE INDEX decision_content ON decision(content_hash);

-- What was decided about the parts of photos that changed meanwhile, until something is proposed for them anew.
CREATE TABLE carried(
  path         BLOB NOT NULL,              -- of the photo, as the file system spells it
  content_hash TEXT NOT NULL,              -- of its picture as it was
  gone         INTEGER NOT NULL,           -- 1: no file was there; it may have another name now
  part         TEXT NOT NULL,              -- from here on as for a decision
  word         TEXT NOT NULL,
  verdict      TEXT NOT NULL,
  spelt        TEXT NOT NULL,
  text         TEXT NOT NULL,
  number       INTEGER NOT NULL,
  PRIMARY KEY(path, part, word)
) STRICT, WITHOUT ROWID;

CREATE INDEX carried_content ON carried(content_hash);

-- Pictures for which a person refused all that was proposed: left alone until the person says otherwise.
CREATE TABLE refused(
  proposal     TEXT PRIMARY KEY,           -- id of the record that was refused
  content_hash TEXT NOT NULL,              -- of its picture: two copies of one may both be refused
  at           TEXT NOT NULL               -- ISO 8601 with zone
) STRICT;

CREATE INDEX refused_content ON refused(content_hash);

-- The proposals about which nothing was settled since. What only says that one is under review settles nothing,
-- nor does what was begun for it and not ended, nor a refusal that was lifted.
CREATE VIEW open_proposal AS
SELECT proposed.id, proposed.path, proposed.content_hash FROM record AS proposed
WHERE proposed.outcome = 'proposed' AND proposed.stands = 1 AND NOT EXISTS (
  SELECT 1 FROM record AS later
  WHERE later.path = proposed.path AND later.rowid > proposed.rowid AND later.outcome <> 'failed'
    AND NOT ((later.outcome = 'skipped' OR later.stands = 0)
      AND json_extract(later.body, '$.proposal') = proposed.id)
    AND NOT (later.outcome = 'refused'
      AND NOT EXISTS (SELECT 1 FROM refused WHERE refused.proposal = json_extract(later.body, '$.proposal'))));

-- The few whose words were only told, which are looked for at every start too.
CREATE INDEX record_told ON record(path) WHERE outcome = 'recorded' AND stands = 1;
