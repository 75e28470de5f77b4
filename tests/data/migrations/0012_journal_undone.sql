-- Only an index is new.
UPDATE run SET kind = kind;
