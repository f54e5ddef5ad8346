-- The latest value of each statistic of drift of a kind (feature, score, error), the largest first.
SELECT target, name, statistic, max(d.day) AS as_of_day, argMax(value, d.day) AS latest
FROM drift AS d FINAL
WHERE kind = {kind:String}
GROUP BY target, name, statistic
ORDER BY latest DESC, target, name
