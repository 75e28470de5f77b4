-- What people decided about conflicts, and who is not to be carried any more.

-- Every decision, in its order. It outlives the conflict that it settled.
CREATE TABLE decision (
    id INTEGER NOT NULL PRIMARY KEY,
    livedesk_id INTEGER NOT NULL,
    -- reopened: a decision was taken back.
    decision TEXT NOT NULL CHECK (decision IN ('link', 'create', 'skip', 'reopened')),
    target INTEGER,
    -- The conflict as it was then.
    kind TEXT NOT NULL,
    candidates TEXT NOT NULL CHECK (json_valid(candidates)),
    -- Login of the person; NULL where it is not known.
    decided_by TEXT,
    at INTEGER NOT NULL,
    CHECK ((decision = 'link') = (target IS NOT NULL))
) STRICT;
CREATE INDEX decision_contact ON decision (livedesk_id);

INSERT INTO decision (livedesk_id, decision, target, kind, candidates, decided_by, at)
    SELECT livedesk_id, decision, decision_target, kind, candidates, NULL, at FROM conflict WHERE decision IS NOT NULL;

-- People who were forgotten: a keyed hash of the LiveDesk id, and nothing else.
CREATE TABLE forgotten (
    key BLOB NOT NULL PRIMARY KEY CHECK (length(key) = 16),
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
