-- Rows as version 13 writes them.
UPDATE conflict SET carried_to = 603, left_behind = 604 WHERE livedesk_id = 17;
