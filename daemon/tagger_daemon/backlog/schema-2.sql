-- Which folders the configuration names: the photos of the others stay as they are.
ALTER TABLE folder ADD COLUMN watched INTEGER NOT NULL DEFAULT 1;
