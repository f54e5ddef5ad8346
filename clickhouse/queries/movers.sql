-- Customers whose risk changed most over the last days of event time: their latest score against the latest one that
-- was at least that old when the newest score of all was made.
WITH (SELECT max(as_of) FROM scores) - toIntervalDay({days:UInt16}) AS since
SELECT
    customer_id,
    argMax(churn, (as_of, scored_at)) AS churn_now,
    argMaxIf(churn, (as_of, scored_at), as_of <= since) AS churn_before,
    churn_now - churn_before AS change,
    argMax(band, (as_of, scored_at)) AS band_now,
    argMax(trend_7d, (as_of, scored_at)) AS trend,
    max(as_of) AS scored_as_of
FROM scores
GROUP BY customer_id
HAVING min(as_of) <= since AND scored_as_of > since
ORDER BY abs(change) DESC, customer_id
LIMIT {limit:UInt32}
