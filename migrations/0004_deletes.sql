-- What became of both ends of a link: records that vanished at FIRST LINE, contacts that are gone from LiveDesk.

-- live: the record is there, as far as known; alias: it was merged into another one, and nothing is written through it;
-- gone: it is there no more, and nobody knows where it went.
ALTER TABLE link ADD COLUMN standing TEXT NOT NULL DEFAULT 'live' CHECK (standing IN ('live', 'alias', 'gone'));
-- The record that took its place.
ALTER TABLE link ADD COLUMN alias_of INTEGER CHECK ((standing = 'alias') = (alias_of IS NOT NULL));
CREATE INDEX link_vanished ON link (standing) WHERE standing <> 'live';

-- Linked contacts that whole proven sweeps did not see any more.
CREATE TABLE absence (
    livedesk_id INTEGER NOT NULL PRIMARY KEY REFERENCES link (livedesk_id) ON DELETE CASCADE,
    -- When it was first judged absent: the grace period counts from here.
    since INTEGER NOT NULL,
    -- What a read by id said: unasked; missing (404); hidden (200: it is there, only not listed); unknown (none that counts).
    finding TEXT NOT NULL CHECK (finding IN ('unasked', 'missing', 'hidden', 'unknown')),
    asked_at INTEGER,
    -- Our mark on its record: about to be put there, ours, or somebody's who was first.
    mark TEXT NOT NULL CHECK (mark IN ('none', 'putting', 'ours', 'found')),
    -- Where that is: 'tag 7' or 'cz_col 33'.
    place TEXT,
    -- Its deletion: about to be sent, or never to be sent.
    deletion TEXT NOT NULL CHECK (deletion IN ('none', 'under_way', 'kept')),
    -- Why the last attempt did nothing; a stable word.
    why TEXT,
    run INTEGER NOT NULL REFERENCES run (id)
) STRICT;

-- These were set aside because their record had vanished; the next run looks again and gives their link its standing.
DELETE FROM dead_letter WHERE kind = 'gone' AND livedesk_id IN (SELECT livedesk_id FROM link);
