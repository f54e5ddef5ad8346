-- An event is kept as it came, whole: what Ebb does not know today may matter tomorrow, and no part of it has to be
-- written anew on its way here. The view reads `properties` out of the body; the column of that name is filled in rows
-- from before there were bodies, and empty in all others.

ALTER TABLE events ADD COLUMN IF NOT EXISTS body String CODEC(ZSTD(1)) AFTER session_id;

CREATE OR REPLACE VIEW v_events AS
SELECT * EXCEPT properties, if(body = '', events.properties, JSONExtractRaw(body, 'properties')) AS properties
FROM events FINAL;
