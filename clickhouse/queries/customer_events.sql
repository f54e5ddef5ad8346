-- A customer's events, newest first.
SELECT event_id, type, kind, occurred_at, amount, currency, channel, country, product_id, category, store, late
FROM v_events
WHERE customer_id = {customer:String}
ORDER BY occurred_at DESC, event_id
LIMIT {limit:UInt32}
