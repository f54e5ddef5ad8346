-- An event is kept as it came, whole: what Ebb does not know today may matter tomorrow, and no part of it has to be
-- written anew on its way here. `properties` is read out of the body when somebody asks for it.

ALTER TABLE events ADD COLUMN IF NOT EXISTS body String CODEC(ZSTD(1)) AFTER session_id;

ALTER TABLE events UPDATE body = concat('{"properties":', properties, '}') WHERE body = '' SETTINGS mutations_sync = 2;

ALTER TABLE events DROP COLUMN IF EXISTS properties;

ALTER TABLE events ADD COLUMN IF NOT EXISTS properties String ALIAS JSONExtractRaw(body, 'properties');

DROP VIEW IF EXISTS v_events;

CREATE VIEW IF NOT EXISTS v_events AS SELECT *, properties FROM events FINAL;
