-- The customer that a refused record is about, so that an erasure need not search error texts. Rows written before are empty.

ALTER TABLE dead_letters ADD COLUMN IF NOT EXISTS customer_id String DEFAULT '';

CREATE OR REPLACE VIEW v_dead_letters AS SELECT * FROM dead_letters FINAL;
