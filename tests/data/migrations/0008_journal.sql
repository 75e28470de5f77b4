-- Rows as version 8 writes them: a record that was made, and a change that was taken back.
INSERT INTO journal (run, livedesk_id, target, action, before, after, link_before, why, at)
VALUES (2, 11, 101, 'create', '{}', NULL, 'null', 'new contact', 1700000300000);
INSERT INTO journal (run, livedesk_id, target, action, before, after, link_before, why, undone_by, at)
VALUES (2, 12, 102, 'update', '{"first_name":"王"}', '{"first_name":"00000000000000000000000000000001"}',
    '{"target":102}', 'source changed', 2, 1700000300000);
