-- How early a departure shows. A customer departs on the first snapshot day whose label is 1 after one of 0 (so the last
-- activity lies just before it); the lead time of a score is the days from its snapshot to that departure, negative once
-- the silence has begun. For each lead time, roc_auc is the chance that the score of a customer who departs so many days
-- later lies above that of a customer of the same snapshot day who departs neither within the days asked nor has departed.
WITH
    said AS
    (
        SELECT customer_id, snapshot_day, label, probability
        FROM v_outcomes
        WHERE target = {target:String} AND candidate = {candidate:String} AND label <= 1 AND NOT isNaN(probability)
    ),
    departures AS
    (
        SELECT customer_id, arraySort(groupArray(snapshot_day)) AS days
        FROM
        (
            SELECT
                customer_id,
                snapshot_day,
                label,
                lagInFrame(label, 1, 1) OVER (
                    PARTITION BY customer_id ORDER BY snapshot_day ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
                ) AS before
            FROM said
        )
        WHERE label = 1 AND before = 0
        GROUP BY customer_id
    ),
    told AS
    (
        SELECT
            s.snapshot_day AS day,
            s.probability AS probability,
            s.label AS label,
            arrayFirst(d -> d >= toDate(s.snapshot_day) - {days:UInt16}, days) AS departure,
            if(departure = toDate(0), NULL, toInt32(departure - s.snapshot_day)) AS lead
        FROM said AS s
        LEFT JOIN departures AS d USING (customer_id)
    ),
    stayed AS
    (
        SELECT day, arraySort(groupArray(probability)) AS scores
        FROM told
        WHERE label = 0 AND (lead IS NULL OR lead > {days:UInt16})
        GROUP BY day
    )
SELECT
    assumeNotNull(lead) AS lead_days,
    count() AS departures,
    avg(probability) AS mean_probability,
    avg(
        (arrayCount(x -> x < t.probability, scores) + arrayCount(x -> x <= t.probability, scores)) / (2 * length(scores))
    ) AS roc_auc
FROM told AS t
INNER JOIN stayed AS s ON s.day = t.day
WHERE lead BETWEEN -toInt32({days:UInt16}) AND toInt32({days:UInt16})
GROUP BY lead_days
ORDER BY lead_days DESC
