-- An intent that says what was sent, beside those of before.
INSERT INTO intent (seq, livedesk_id, kind, stamp, high_water, opened_at, state, recreated, base)
VALUES (50, 50, 'contact', 'LD-50', 502, 1700000200000, 'open', 0, x'0102');
