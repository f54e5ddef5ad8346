-- What the learner reported of one candidate over the last days on which labels matured: by day (window `day`, on the
-- labels of that day alone) or over the window of the latest labels (`rolling`).
SELECT matured_day, metric, value, m.labels AS labels
FROM model_metrics AS m FINAL
WHERE target = {target:String}
    AND candidate = {candidate:String}
    AND window = {window:String}
    AND matured_day > (SELECT max(matured_day) FROM model_metrics WHERE target = {target:String}) - {days:UInt16}
ORDER BY matured_day, metric
