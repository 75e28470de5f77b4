-- Which rows a run took back: asked whenever an old run is forgotten.
CREATE INDEX journal_undone ON journal (undone_by) WHERE undone_by IS NOT NULL;
