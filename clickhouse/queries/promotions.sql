-- What changed of a target's champion, newest first: by the rule or by request, applied or not.
SELECT decided_day, cause, request_id, former, champion, version, outcome, why, decided_at
FROM v_promotions
WHERE target = {target:String}
ORDER BY decided_at DESC, decided_day DESC
LIMIT {limit:UInt32}
