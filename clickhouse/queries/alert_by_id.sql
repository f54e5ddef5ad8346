-- One alert.
SELECT
    alert_id, kind, customer_id, band, previous_band, churn, previous, why, value_at_risk, country, channel, as_of,
    raised_at
FROM v_alerts
WHERE alert_id = {alert:String}
LIMIT 1
