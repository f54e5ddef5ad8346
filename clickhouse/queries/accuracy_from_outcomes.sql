-- Accuracy of every candidate, taken from the outcomes themselves, by the day on which labels matured: what the learner
-- reports (accuracy_by_label_date) must agree with it. Costly on long histories.
SELECT matured_day, candidate, labels, positives, base_rate, mean_probability, roc_auc, brier, log_loss
FROM accuracy_by_day
WHERE target = {target:String}
    AND matured_day > (SELECT max(matured_day) FROM outcomes WHERE target = {target:String}) - {days:UInt16}
ORDER BY matured_day, candidate
SETTINGS do_not_merge_across_partitions_select_final = 1
