-- The journal holds every change that a run made at FIRST LINE: enough to take a run back, newest change first.

-- What was written, as keyed digests per field, and ids per list: whether the record still holds it. NULL where a row says nothing of it
-- (a record that was made: what it was made of is the base of its link).
ALTER TABLE journal ADD COLUMN after TEXT CHECK (after IS NULL OR json_valid(after));
-- The link and its rows of link_child before the change; JSON null where there was none; NULL where the row says nothing of it.
ALTER TABLE journal ADD COLUMN link_before TEXT CHECK (link_before IS NULL OR json_valid(link_before));
-- A short reason, without values.
ALTER TABLE journal ADD COLUMN why TEXT NOT NULL DEFAULT '';
-- The undo that took it back.
ALTER TABLE journal ADD COLUMN undone_by INTEGER REFERENCES run (id);

-- Runs from this number on have their whole journal: earlier ones kept less, and old rows are deleted.
INSERT INTO profile (key, value, at)
SELECT 'journal_since', CAST(coalesce(max(id), 0) + 1 AS TEXT), 0 FROM run WHERE true
ON CONFLICT (key) DO UPDATE SET value = excluded.value;
