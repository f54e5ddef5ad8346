-- Refused records by stage and reason, each counted once.
SELECT stage, reason, count() AS records, sum(size) AS bytes, min(seen_at) AS first_at, max(seen_at) AS last_at
FROM v_dead_letters
GROUP BY stage, reason
ORDER BY records DESC, stage, reason
