-- Rows may come twice (at-least-once delivery), so every table merges by a key that the same fact always has; the
-- column in brackets decides which of two rows stays. Reading goes through the views, which see one row a key.

CREATE TABLE IF NOT EXISTS events
(
    event_id String,
    customer_id String,
    type LowCardinality(String),
    kind LowCardinality(String),
    occurred_at DateTime64(3, 'UTC'),
    amount Nullable(Float64),
    currency LowCardinality(Nullable(String)),
    channel LowCardinality(Nullable(String)),
    country LowCardinality(Nullable(String)),
    product_id Nullable(String),
    category LowCardinality(Nullable(String)),
    store LowCardinality(Nullable(String)),
    payment_method LowCardinality(Nullable(String)),
    discount Nullable(Float64),
    session_id Nullable(String),
    properties String CODEC(ZSTD(1)),
    partition UInt16,
    offset UInt64,
    late UInt8,
    ingested_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(ingested_at)
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (customer_id, event_id);

CREATE TABLE IF NOT EXISTS features
(
    customer_id String,
    day Date,
    as_of DateTime64(3, 'UTC'),
    recency_days Float32,
    tenure_days Float32,
    purchase_recency_days Float32,
    events_1d Float32,
    events_7d Float32,
    events_30d Float32,
    sessions_1d Float32,
    sessions_7d Float32,
    sessions_30d Float32,
    views_1d Float32,
    views_7d Float32,
    views_30d Float32,
    carts_1d Float32,
    carts_7d Float32,
    carts_30d Float32,
    purchases_1d Float32,
    purchases_7d Float32,
    purchases_30d Float32,
    supports_1d Float32,
    supports_7d Float32,
    supports_30d Float32,
    spend_7d Float32,
    spend_30d Float32,
    spend_total Float32,
    order_value Float32,
    events_total Float32,
    purchases_total Float32,
    active_days_total Float32,
    active_days_7 Float32,
    active_days_30 Float32,
    active_days_60 Float32,
    purchase_days_60 Float32,
    events_hl3 Float32,
    events_hl14 Float32,
    events_hl45 Float32,
    events_hl120 Float32,
    active_hl3 Float32,
    active_hl14 Float32,
    active_hl45 Float32,
    active_hl120 Float32,
    gap_mean_days Float32,
    gap_std_days Float32,
    recency_over_gap Float32,
    trend Float32,
    view_to_cart Float32,
    cart_to_purchase Float32,
    discount_share Float32,
    computed_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(computed_at)
PARTITION BY toYYYYMM(day)
ORDER BY (customer_id, day);

CREATE TABLE IF NOT EXISTS scores
(
    customer_id String,
    as_of DateTime64(3, 'UTC'),
    churn Float64,
    purchase Float64,
    band LowCardinality(String),
    previous Nullable(Float64),
    trend_7d Nullable(Float64),
    reasons String CODEC(ZSTD(1)),
    value_at_risk Float64,
    expected_gain Float64,
    country LowCardinality(Nullable(String)),
    channel LowCardinality(Nullable(String)),
    model LowCardinality(String),
    model_version UInt32,
    scored_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(scored_at)
PARTITION BY toYYYYMM(as_of)
ORDER BY (customer_id, as_of);

CREATE TABLE IF NOT EXISTS alerts
(
    alert_id String,
    kind LowCardinality(String),
    customer_id String,
    band LowCardinality(String),
    previous_band LowCardinality(Nullable(String)),
    churn Float64,
    previous Nullable(Float64),
    why String,
    value_at_risk Float64,
    country LowCardinality(Nullable(String)),
    channel LowCardinality(Nullable(String)),
    as_of DateTime64(3, 'UTC'),
    raised_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(raised_at)
ORDER BY (customer_id, alert_id);

-- One row per label and candidate: what the candidate said at the snapshot, and what came of it.
CREATE TABLE IF NOT EXISTS outcomes
(
    target LowCardinality(String),
    customer_id String,
    snapshot_day Date,
    matured_day Date,
    label UInt8,
    country LowCardinality(Nullable(String)),
    channel LowCardinality(Nullable(String)),
    candidate LowCardinality(String),
    probability Float32
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(snapshot_day)
ORDER BY (target, candidate, snapshot_day, customer_id);

CREATE TABLE IF NOT EXISTS model_metrics
(
    target LowCardinality(String),
    candidate LowCardinality(String),
    matured_day Date,
    window LowCardinality(String),
    metric LowCardinality(String),
    value Float64,
    labels UInt64,
    computed_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(computed_at)
ORDER BY (target, candidate, window, metric, matured_day);

CREATE TABLE IF NOT EXISTS models
(
    name LowCardinality(String),
    target LowCardinality(String),
    candidate LowCardinality(String),
    version UInt32,
    role LowCardinality(String),
    schema_hash String,
    trained_until Date,
    examples UInt64,
    metrics String,
    checksum String,
    published_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(published_at)
ORDER BY (name, version);

CREATE TABLE IF NOT EXISTS dead_letters
(
    topic LowCardinality(String),
    partition UInt16,
    offset UInt64,
    stage LowCardinality(String),
    reason LowCardinality(String),
    detail String,
    size UInt32,
    seen_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(seen_at)
ORDER BY (topic, partition, offset);
