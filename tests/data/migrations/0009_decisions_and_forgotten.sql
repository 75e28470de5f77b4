-- Rows as version 9 writes them.
INSERT INTO decision VALUES (71, 16, 'reopened', NULL, 'several candidates', '[601,602]', 'op', 1700000400000);
INSERT INTO forgotten VALUES (zeroblob(16), 1700000400000);
