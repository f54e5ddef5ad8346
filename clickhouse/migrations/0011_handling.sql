-- What people did about alerts, every act of it; the topic keeps the latest of each kind alone.
CREATE TABLE IF NOT EXISTS alert_handling
(
    alert_id String,
    customer_id String,
    act LowCardinality(String),
    actor String,
    acted_at DateTime64(3, 'UTC'),
    until Nullable(DateTime64(3, 'UTC')),
    outcome LowCardinality(Nullable(String)),
    note String,
    as_of DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (customer_id, alert_id, acted_at, act);

CREATE VIEW IF NOT EXISTS v_alert_handling AS SELECT * FROM alert_handling FINAL;

-- Alerts with how they ended; those that nobody has closed have no outcome.
CREATE VIEW IF NOT EXISTS alert_outcomes AS
SELECT
    a.alert_id AS alert_id,
    a.customer_id AS customer_id,
    a.band AS band,
    a.churn AS churn,
    a.value_at_risk AS value_at_risk,
    a.as_of AS as_of,
    a.raised_at AS raised_at,
    h.first_acted_at AS first_acted_at,
    h.outcome AS outcome,
    h.closed_at AS closed_at
FROM v_alerts AS a
LEFT JOIN
(
    SELECT
        alert_id,
        toNullable(min(acted_at)) AS first_acted_at,
        argMaxIf(outcome, acted_at, act = 'outcome') AS outcome,
        maxIf(toNullable(acted_at), act = 'outcome') AS closed_at
    FROM alert_handling
    GROUP BY alert_id
) AS h USING (alert_id);
