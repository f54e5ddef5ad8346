-- To merge a row costs more than to insert it, so parts are merged when there are more of them, and each row less often:
-- 16 or 12 of one size, not 5 (docs/adr/0022). Who reads a customer looks into as many parts more.

ALTER TABLE events MODIFY SETTING merge_selector_base = 16;
ALTER TABLE features MODIFY SETTING merge_selector_base = 12;
ALTER TABLE scores MODIFY SETTING merge_selector_base = 12;
