-- Customers with any activity by day, over the last days that had any.
SELECT toDate(occurred_at) AS day, uniqExact(customer_id) AS customers, uniqExact(event_id) AS events
FROM events
WHERE day > (SELECT toDate(max(occurred_at)) FROM events) - {days:UInt16}
GROUP BY day
ORDER BY day
