-- Realised accuracy of every candidate by the day on which labels matured, over the last days that had any, as the
-- learner measured it on the labels of that day alone.
SELECT
    matured_day,
    candidate,
    max(m.labels) AS labels,
    anyOrNullIf(value, metric = 'roc_auc') AS roc_auc,
    anyOrNullIf(value, metric = 'pr_auc') AS pr_auc,
    anyOrNullIf(value, metric = 'log_loss') AS log_loss,
    anyOrNullIf(value, metric = 'brier') AS brier,
    anyOrNullIf(value, metric = 'ece') AS ece,
    anyOrNullIf(value, metric = 'base_rate') AS base_rate
FROM model_metrics AS m FINAL
WHERE target = {target:String}
    AND window = 'day'
    AND matured_day > (SELECT max(matured_day) FROM model_metrics WHERE target = {target:String}) - {days:UInt16}
GROUP BY matured_day, candidate
ORDER BY matured_day, candidate
