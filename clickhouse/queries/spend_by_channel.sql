-- Money spent by channel and currency, over the last days that had events.
SELECT
    channel,
    currency,
    count() AS purchases,
    uniqExact(customer_id) AS customers,
    sum(amount) AS spend
FROM v_events
WHERE kind = 'purchase' AND occurred_at > (SELECT max(occurred_at) FROM events) - toIntervalDay({days:UInt16})
GROUP BY channel, currency
ORDER BY spend DESC, channel
