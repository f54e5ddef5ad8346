-- The metric that a snapshot's probabilities predict, and the one its labels gave once they had matured (null until then), by
-- the day of the snapshot: of one candidate and one metric.
SELECT e.snapshot_day AS snapshot_day, e.due_day AS due_day, e.value AS expected, r.realised AS realised, customers
FROM v_expected_metrics AS e
LEFT JOIN
(
    SELECT matured_day, toNullable(value) AS realised
    FROM v_model_metrics
    WHERE target = {target:String} AND candidate = {candidate:String} AND metric = {metric:String} AND window = 'day'
) AS r ON r.matured_day = e.due_day
WHERE e.target = {target:String} AND e.candidate = {candidate:String} AND e.metric = {metric:String}
ORDER BY snapshot_day DESC
LIMIT {limit:UInt32}
