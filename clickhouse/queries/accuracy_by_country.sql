-- Realised accuracy of one candidate by country, over the last days on which labels matured.
SELECT
    country,
    count() AS labels,
    avg(label) AS base_rate,
    avg(probability) AS mean_probability,
    if(sum(label) IN (0, count()), NULL, arrayAUC(groupArray(probability), groupArray(label))) AS roc_auc
FROM v_outcomes
WHERE target = {target:String}
    AND candidate = {candidate:String}
    AND label <= 1
    AND NOT isNaN(probability)
    AND matured_day > (SELECT max(matured_day) FROM outcomes WHERE target = {target:String}) - {days:UInt16}
GROUP BY country
ORDER BY labels DESC, country
SETTINGS do_not_merge_across_partitions_select_final = 1
