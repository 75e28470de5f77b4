-- Rows as version 3 writes them: one that waits, and one that was given up.
UPDATE dead_letter SET next_at = 1700000900000, mapping_version = 'v1' WHERE livedesk_id = 14;
UPDATE dead_letter SET attempts = 8, poisoned_at = 1700000002000 WHERE livedesk_id = 15;
