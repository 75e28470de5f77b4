-- Dead letters are tried again by later runs, at growing distances, until they are poisoned.
ALTER TABLE dead_letter ADD COLUMN next_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dead_letter ADD COLUMN poisoned_at INTEGER;
ALTER TABLE dead_letter ADD COLUMN mapping_version TEXT;

CREATE INDEX dead_letter_next ON dead_letter (next_at) WHERE poisoned_at IS NULL;
