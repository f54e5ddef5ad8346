-- The last version published of each target.
SELECT target, max(version) AS version
FROM models
WHERE target IN ('churn', 'purchase')
GROUP BY target
