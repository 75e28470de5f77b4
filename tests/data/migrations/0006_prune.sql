-- Version 6 adds indexes only: one more run that nothing refers to.
INSERT INTO run (kind, options, started_at, ended_at, exit_code, counts) VALUES ('sync', '{}', 1700000400000, 1700000401000, 0, '{}');
