-- Predicted against realised: outcomes in ten equal bins of predicted probability.
SELECT
    least(9, toUInt8(floor(probability * 10 + 1e-6))) AS bin,
    avg(probability) AS predicted,
    avg(label) AS observed,
    count() AS labels
FROM v_outcomes
WHERE target = {target:String}
    AND candidate = {candidate:String}
    AND label <= 1
    AND NOT isNaN(probability)
    AND matured_day > (SELECT max(matured_day) FROM outcomes WHERE target = {target:String}) - {days:UInt32}
GROUP BY bin
ORDER BY bin
SETTINGS do_not_merge_across_partitions_select_final = 1
