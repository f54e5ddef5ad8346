-- Who did what to the system itself, and to whom. Rows are written once; nothing of Ebb changes or deletes them.
CREATE TABLE IF NOT EXISTS audit
(
    act_id String,
    acted_at DateTime64(3, 'UTC'),
    actor String,
    action LowCardinality(String),
    subject String,
    details String CODEC(ZSTD(1)),
    address String
)
ENGINE = ReplacingMergeTree
ORDER BY (acted_at, act_id);

CREATE VIEW IF NOT EXISTS v_audit AS SELECT * FROM audit FINAL;
