-- The latest score of every customer. argMax is idempotent, so the table need not be merged first.
CREATE VIEW IF NOT EXISTS customers_now AS
SELECT
    customer_id,
    latest.1 AS as_of,
    latest.2 AS churn,
    latest.3 AS purchase,
    latest.4 AS band,
    latest.5 AS trend_7d,
    latest.6 AS value_at_risk,
    latest.7 AS expected_gain,
    latest.8 AS country,
    latest.9 AS channel,
    latest.10 AS model,
    latest.11 AS model_version
FROM
(
    SELECT
        customer_id,
        argMax(
            (as_of, churn, purchase, band, trend_7d, value_at_risk, expected_gain, country, channel, model, model_version),
            (as_of, scored_at)
        ) AS latest
    FROM scores
    GROUP BY customer_id
);

-- Customers scored on a day, by the band in which the day left them.
CREATE VIEW IF NOT EXISTS bands_by_day AS
SELECT day, latest.1 AS band, count() AS customers, avg(latest.2) AS mean_churn, sum(latest.3) AS value_at_risk
FROM
(
    SELECT toDate(as_of) AS day, customer_id, argMax((band, churn, value_at_risk), (as_of, scored_at)) AS latest
    FROM scores
    GROUP BY day, customer_id
)
GROUP BY day, band;

-- Realised accuracy by the day on which labels matured. A label above 1 was withdrawn (the customer was erased).
CREATE VIEW IF NOT EXISTS accuracy_by_day AS
SELECT
    target,
    candidate,
    matured_day,
    count() AS labels,
    sum(label) AS positives,
    avg(label) AS base_rate,
    avg(probability) AS mean_probability,
    if(positives = 0 OR positives = labels, NULL, arrayAUC(groupArray(probability), groupArray(label))) AS roc_auc,
    avg(pow(probability - label, 2)) AS brier,
    -avg(if(label = 1, log(clipped), log(1 - clipped))) AS log_loss
FROM
(
    SELECT *, greatest(1e-6, least(1 - 1e-6, toFloat64(probability))) AS clipped
    FROM outcomes FINAL
    WHERE label <= 1 AND NOT isNaN(probability)
)
GROUP BY target, candidate, matured_day;

CREATE VIEW IF NOT EXISTS activity_by_day AS
SELECT toDate(occurred_at) AS day, kind, count() AS events, uniqExact(customer_id) AS customers, sum(amount) AS amount
FROM events FINAL
GROUP BY day, kind;
