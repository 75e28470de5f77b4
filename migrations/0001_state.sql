-- The whole state of one migration between two accounts (docs: design, section 5).
-- Times are milliseconds since the Unix epoch. Digests are 16 bytes keyed with account.hash_key.
-- No value of a person is kept anywhere but in journal.before.

PRAGMA application_id = 1684432242; -- "dfer": tells our file from any other SQLite file

CREATE TABLE account (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    hash_key BLOB NOT NULL CHECK (length(hash_key) = 32),
    created_at INTEGER NOT NULL,
    livedesk TEXT,
    firstline TEXT
) STRICT;

CREATE TABLE run (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    options TEXT NOT NULL CHECK (json_valid(options)),
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    exit_code INTEGER,
    verdict TEXT,
    counts TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(counts))
) STRICT;

CREATE TABLE sweep (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES run (id),
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    verdict TEXT
) STRICT;

CREATE TABLE checkpoint (
    sweep INTEGER NOT NULL PRIMARY KEY REFERENCES sweep (id) ON DELETE CASCADE,
    pass INTEGER NOT NULL,
    page INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- Which sweep last saw an id of the source.
CREATE TABLE sighting (
    livedesk_id INTEGER NOT NULL PRIMARY KEY,
    sweep INTEGER NOT NULL
) STRICT;

CREATE TABLE link (
    livedesk_id INTEGER NOT NULL PRIMARY KEY,
    target INTEGER NOT NULL UNIQUE,
    origin TEXT NOT NULL CHECK (origin IN ('created', 'adopted', 'rebuilt', 'decided')),
    fingerprint BLOB CHECK (length(fingerprint) = 16),
    base BLOB NOT NULL,
    mapping_version TEXT,
    intent_seq INTEGER,
    linked_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    run INTEGER NOT NULL REFERENCES run (id)
) STRICT;
-- The positive control asks for the newest record that we created ourselves.
CREATE INDEX link_created ON link (intent_seq) WHERE origin = 'created' AND intent_seq IS NOT NULL;

CREATE TABLE link_child (
    livedesk_id INTEGER NOT NULL REFERENCES link (livedesk_id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('email', 'phone')),
    key BLOB NOT NULL CHECK (length(key) = 16),
    child INTEGER NOT NULL,
    PRIMARY KEY (livedesk_id, kind, key)
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT keeps the highest number ever used, so that a number never means two intents.
CREATE TABLE intent (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    livedesk_id INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('contact', 'email', 'phone')),
    stamp TEXT NOT NULL,
    key BLOB CHECK (length(key) = 16),
    target INTEGER,
    high_water INTEGER NOT NULL,
    opened_at INTEGER NOT NULL,
    -- Since when its doubt may run out; NULL while its request may still be under way.
    parked_at INTEGER,
    -- open: may be under way; parked: in doubt; absent: surely not applied, to be created again; audit: created again,
    -- to be looked at for a twin.
    state TEXT NOT NULL CHECK (state IN ('open', 'parked', 'absent', 'audit')),
    recreated INTEGER NOT NULL CHECK (recreated IN (0, 1))
) STRICT;
CREATE INDEX intent_contact ON intent (livedesk_id);

CREATE TABLE journal (
    id INTEGER NOT NULL PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES run (id),
    livedesk_id INTEGER NOT NULL,
    target INTEGER NOT NULL,
    action TEXT NOT NULL,
    before TEXT NOT NULL CHECK (json_valid(before)),
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX journal_run ON journal (run);
CREATE INDEX journal_contact ON journal (livedesk_id);

CREATE TABLE dead_letter (
    livedesk_id INTEGER NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    field TEXT,
    status INTEGER,
    detail TEXT NOT NULL,
    fingerprint BLOB CHECK (length(fingerprint) = 16),
    attempts INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    run INTEGER NOT NULL REFERENCES run (id)
) STRICT;

CREATE TABLE conflict (
    livedesk_id INTEGER NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    candidates TEXT NOT NULL CHECK (json_valid(candidates)),
    keys TEXT NOT NULL,
    run INTEGER NOT NULL REFERENCES run (id),
    at INTEGER NOT NULL,
    decision TEXT CHECK (decision IN ('link', 'create', 'skip')),
    decision_target INTEGER,
    CHECK ((decision IS 'link') = (decision_target IS NOT NULL))
) STRICT;

-- The target's own list, read once. It may be believed only while target_walk.finished_at is set.
CREATE TABLE target_index (
    kind TEXT NOT NULL CHECK (kind IN ('stamp', 'email', 'phone', 'profile')),
    key BLOB NOT NULL CHECK (length(key) = 16),
    target INTEGER NOT NULL,
    PRIMARY KEY (kind, key, target)
) STRICT, WITHOUT ROWID;

CREATE TABLE target_walk (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    generation INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    distinct_ids INTEGER,
    total INTEGER
) STRICT;

CREATE TABLE field_definition (
    id INTEGER NOT NULL PRIMARY KEY,
    category_id INTEGER NOT NULL,
    category TEXT NOT NULL,
    name TEXT NOT NULL,
    kind INTEGER NOT NULL,
    required INTEGER NOT NULL CHECK (required IN (0, 1)),
    options TEXT NOT NULL CHECK (json_valid(options)),
    fallback TEXT CHECK (fallback IS NULL OR json_valid(fallback))
) STRICT;

CREATE TABLE profile (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL CHECK (json_valid(value)),
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
