-- What the learner reported of one metric, by candidate and the day on which labels matured.
SELECT matured_day, candidate, value, labels
FROM v_model_metrics
WHERE target = {target:String} AND window = {window:String} AND metric = {metric:String}
ORDER BY matured_day, candidate
