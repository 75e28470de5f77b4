-- The latest end of each kind of run, however many of another kind came after it.
CREATE INDEX run_ended ON run (kind, id) WHERE ended_at IS NOT NULL;
