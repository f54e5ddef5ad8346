-- Customers by the week of their first activity and how many of them were active so many weeks later.
SELECT
    cohort,
    intDiv(toMonday(day) - cohort, 7) AS week,
    uniqExact(customer_id) AS customers
FROM
(
    SELECT DISTINCT customer_id, toDate(occurred_at) AS day, toMonday(min(day) OVER (PARTITION BY customer_id)) AS cohort
    FROM events
)
GROUP BY cohort, week
ORDER BY cohort, week
