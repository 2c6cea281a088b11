-- What was taken back, and what was only proposed.

-- Pictures whose words a person had taken back: left alone until the person says otherwise.
CREATE TABLE undone(
  content_hash TEXT PRIMARY KEY,
  at           TEXT NOT NULL,              -- ISO 8601 with zone
  known_as     TEXT NOT NULL               -- the content of its records; another one where the picture was edited since
) STRICT;

-- The few that are looked for at every start.
CREATE INDEX record_proposed ON record(path) WHERE outcome = 'proposed' AND stands = 1;
