-- A row as version 2 writes it.
INSERT INTO lane VALUES (1, 1700000150, 1700000100, zeroblob(16), 'parameter', 1, 1700000200000, 2);
