-- Distinct events by day and kind, over the last days that had any.
SELECT day, kind, events, customers, amount
FROM activity_by_day
WHERE day > (SELECT toDate(max(occurred_at)) FROM events) - {days:UInt16}
ORDER BY day, kind
