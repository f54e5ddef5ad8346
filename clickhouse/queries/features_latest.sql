-- A customer's newest features; no row for one who has none.
SELECT *
FROM v_features
WHERE customer_id = {customer:String}
ORDER BY day DESC
LIMIT 1
