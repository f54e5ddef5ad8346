-- Customers and money at stake in each band, by everyone's latest score.
SELECT
    band,
    count() AS customers,
    avg(churn) AS mean_churn,
    sum(value_at_risk) AS total_value_at_risk
FROM customers_now
GROUP BY band
ORDER BY indexOf(['low', 'medium', 'high', 'critical'], band)
