-- Which candidate scored a customer while the customers were split between two; empty while one scored all.

ALTER TABLE outcomes ADD COLUMN IF NOT EXISTS arm LowCardinality(String) DEFAULT '';

CREATE OR REPLACE VIEW v_outcomes AS SELECT * FROM outcomes FINAL;
