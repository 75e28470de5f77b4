-- The fast lane (sync): how far its last whole cycle came, and what the heads of its lists looked like then.
CREATE TABLE lane (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    -- Newest activity and newest creation that were carried, epoch seconds by LiveDesk's clock; NULL: none was seen yet.
    activity INTEGER,
    created INTEGER,
    -- Digest of the first pages (ids, times, count): equal means that nothing moved.
    heads BLOB CHECK (length(heads) = 16),
    -- How descending order is spelled.
    style TEXT NOT NULL CHECK (style IN ('parameter', 'minus')),
    -- Whether LiveDesk follows the order that is asked for; where it does not, only a sweep is sure to see changes.
    sorted INTEGER NOT NULL CHECK (sorted IN (0, 1)),
    -- Everything that the lane can see and that happened before this was carried: our clock, milliseconds.
    carried_until INTEGER,
    run INTEGER NOT NULL REFERENCES run (id)
) STRICT;
