-- The latest accuracy of one candidate by segment of a kind (country, channel, tenure), over the learner's window.
SELECT
    segment,
    max(s.labels) AS labels,
    anyOrNullIf(value, metric = 'roc_auc') AS roc_auc,
    anyOrNullIf(value, metric = 'pr_auc') AS pr_auc,
    anyOrNullIf(value, metric = 'log_loss') AS log_loss,
    anyOrNullIf(value, metric = 'ece') AS ece,
    anyOrNullIf(value, metric = 'base_rate') AS base_rate,
    anyOrNullIf(value, metric = 'profit') AS profit
FROM segment_metrics AS s FINAL
WHERE target = {target:String}
    AND candidate = {candidate:String}
    AND kind = {kind:String}
    AND matured_day = (SELECT max(matured_day) FROM segment_metrics WHERE target = {target:String})
GROUP BY segment
ORDER BY labels DESC, segment
