-- Rows as version 4 writes them.
UPDATE link SET standing = 'alias', alias_of = 777 WHERE livedesk_id = 12;
INSERT INTO absence VALUES (11, 1700000300000, 'missing', 1700000300000, 'ours', 'tag 7', 'under_way', 'changed', 2);
INSERT INTO absence VALUES (12, 1700000300000, 'unasked', NULL, 'none', NULL, 'none', NULL, 2);
