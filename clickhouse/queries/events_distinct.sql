-- How many events are stored, each counted once however often it came.
SELECT
    count() AS events,
    uniqExact(customer_id) AS customers,
    minOrNull(occurred_at) AS first_at,
    maxOrNull(occurred_at) AS last_at
FROM v_events
