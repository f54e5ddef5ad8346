-- A customer's scores before a moment (Unix milliseconds of event time), newest first.
SELECT as_of, churn, purchase, band, trend_7d, value_at_risk, expected_gain, reasons, model, model_version, scored_at
FROM v_scores
WHERE customer_id = {customer:String} AND as_of < fromUnixTimestamp64Milli({before:Int64}, 'UTC')
ORDER BY as_of DESC
LIMIT {limit:UInt32}
