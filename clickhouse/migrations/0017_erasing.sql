-- Customers whose rows are being deleted, one partition a batch, which is dropped when its mutations are done. Mutations name the batch, so
-- that no log of ClickHouse keeps an id. A row with a table counts what the batch deletes there.
CREATE TABLE IF NOT EXISTS erasing
(
    batch String,
    early UInt8,
    erasure_id String,
    customer_id String,
    quoted String,
    partition Int64,
    offset UInt64,
    event_time_ms Int64,
    wall_ms Int64,
    table LowCardinality(String),
    rows UInt64,
    added_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
PARTITION BY batch
ORDER BY (customer_id, erasure_id);

-- Mutations of former versions held ids: finished ones beyond the newest few are forgotten. The default is 100.
ALTER TABLE events MODIFY SETTING finished_mutations_to_keep = 10;
ALTER TABLE features MODIFY SETTING finished_mutations_to_keep = 10;
ALTER TABLE scores MODIFY SETTING finished_mutations_to_keep = 10;
ALTER TABLE alerts MODIFY SETTING finished_mutations_to_keep = 10;
ALTER TABLE alert_handling MODIFY SETTING finished_mutations_to_keep = 10;
ALTER TABLE outcomes MODIFY SETTING finished_mutations_to_keep = 10;
ALTER TABLE dead_letters MODIFY SETTING finished_mutations_to_keep = 10
