-- Accuracy over the window of the latest labels, by segment: country, channel, tenure.
CREATE TABLE IF NOT EXISTS segment_metrics
(
    target LowCardinality(String),
    candidate LowCardinality(String),
    matured_day Date,
    kind LowCardinality(String),
    segment LowCardinality(String),
    metric LowCardinality(String),
    value Float64,
    labels UInt64,
    computed_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(computed_at)
ORDER BY (target, candidate, kind, segment, metric, matured_day);

CREATE VIEW IF NOT EXISTS v_segment_metrics AS SELECT * FROM segment_metrics FINAL;

-- What a snapshot's own probabilities promise, while its labels are pending; due_day is when they are known.
CREATE TABLE IF NOT EXISTS expected_metrics
(
    target LowCardinality(String),
    candidate LowCardinality(String),
    snapshot_day Date,
    due_day Date,
    metric LowCardinality(String),
    value Float64,
    customers UInt64,
    computed_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(computed_at)
ORDER BY (target, candidate, metric, snapshot_day);

CREATE VIEW IF NOT EXISTS v_expected_metrics AS SELECT * FROM expected_metrics FINAL;

-- How far features, scores and errors lie from what they were. The target of a feature is empty: all targets share it.
CREATE TABLE IF NOT EXISTS drift
(
    target LowCardinality(String),
    kind LowCardinality(String),
    name LowCardinality(String),
    day Date,
    statistic LowCardinality(String),
    value Float64,
    computed_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(computed_at)
ORDER BY (target, kind, name, statistic, day);

CREATE VIEW IF NOT EXISTS v_drift AS SELECT * FROM drift FINAL;

-- Every change of what serves, and every request for one: by the rule or by request, carried out or refused.
CREATE TABLE IF NOT EXISTS promotions
(
    target LowCardinality(String),
    decided_day Date,
    cause LowCardinality(String),
    request_id String,
    former LowCardinality(String),
    champion LowCardinality(String),
    version UInt32,
    outcome LowCardinality(String),
    why String,
    decided_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(decided_at)
ORDER BY (target, decided_day, cause, request_id, champion);

CREATE VIEW IF NOT EXISTS v_promotions AS SELECT * FROM promotions FINAL;

-- With its configuration and its payload a version can be looked at, exported and served again.
ALTER TABLE models ADD COLUMN IF NOT EXISTS config String DEFAULT '{}' CODEC(ZSTD(3));

ALTER TABLE models ADD COLUMN IF NOT EXISTS payload String DEFAULT '' CODEC(ZSTD(3));

CREATE OR REPLACE VIEW v_models AS SELECT * FROM models FINAL;
