-- What refers to a run, by the run: rows of runs are deleted after a while, and each deletion asks all of these.
CREATE INDEX link_run ON link (run);
CREATE INDEX sweep_run ON sweep (run);
CREATE INDEX dead_letter_run ON dead_letter (run);
CREATE INDEX conflict_run ON conflict (run);
CREATE INDEX absence_run ON absence (run);
