-- A customer's scores, newest first.
SELECT as_of, churn, purchase, band, trend_7d, value_at_risk, expected_gain, reasons, model, model_version, scored_at
FROM v_scores
WHERE customer_id = {customer:String}
ORDER BY as_of DESC
LIMIT {limit:UInt32}
