-- What a create sent, as keyed hashes like the base of a link: when its answer is lost and the record is found later, this
-- tells what either side has changed since. Empty for e-mails, phones, and intents of before.
ALTER TABLE intent ADD COLUMN base BLOB NOT NULL DEFAULT x'';
