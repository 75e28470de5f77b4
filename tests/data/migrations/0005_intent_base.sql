-- An intent that says what was sent, beside those of before.
UPDATE intent SET base = x'0102' WHERE seq = 7;
