-- Labels by the day of their snapshot: matured, positive among them, and customers described since the last snapshot
-- that has matured, whose label is pending (an estimate where a snapshot samples its customers). Every candidate has a
-- row for each label it predicted, so the one with most rows has all labels.
WITH
    (
        SELECT CAST(candidate, 'Nullable(String)')
        FROM outcomes
        WHERE target = {target:String}
        GROUP BY candidate
        ORDER BY count() DESC, candidate
        LIMIT 1
    ) AS fullest
SELECT snapshot_day, sum(matured) AS matured, sum(positives) AS positives, sum(pending) AS pending
FROM
(
    SELECT
        snapshot_day,
        uniqExact(customer_id) AS matured,
        uniqExactIf(customer_id, label = 1) AS positives,
        0 AS pending
    FROM outcomes
    WHERE target = {target:String} AND candidate = fullest AND label <= 1
    GROUP BY snapshot_day
    UNION ALL
    SELECT day AS snapshot_day, 0 AS matured, 0 AS positives, uniqExact(customer_id) AS pending
    FROM features
    WHERE day > (SELECT max(snapshot_day) FROM outcomes WHERE target = {target:String})
    GROUP BY day
)
GROUP BY snapshot_day
ORDER BY snapshot_day
