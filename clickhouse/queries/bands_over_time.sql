-- How customers moved between bands over the last days of event time: for each day and band, how many more or fewer
-- customers (and how much more or less value at risk) it ended with than the day before. The first day holds everyone
-- known by its end, so running sums give how each day ended. A customer stays in a band until scored into another.
WITH (SELECT toDate(max(as_of)) FROM scores) - {days:UInt16} AS first_day
SELECT
    change.1 AS day,
    change.2 AS band,
    sum(change.3) AS customers,
    sum(change.4) AS value_at_risk
FROM
(
    SELECT arrayJoin([
        (scored_day, latest.1, toInt64(1), latest.2),
        (next_day, latest.1, toInt64(-1), -latest.2)
    ]) AS change
    FROM
    (
        SELECT
            scored_day,
            latest,
            leadInFrame(toNullable(scored_day)) OVER (
                PARTITION BY customer_id ORDER BY scored_day ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
            ) AS next_day
        FROM
        (
            SELECT
                customer_id,
                greatest(toDate(as_of), first_day) AS scored_day,
                argMax((band, value_at_risk), (as_of, scored_at)) AS latest
            FROM scores
            GROUP BY customer_id, scored_day
        )
    )
)
WHERE isNotNull(day)
GROUP BY day, band
ORDER BY day, band
