-- The published versions of a model, newest first.
SELECT version, role, schema_hash, trained_until, examples, metrics, checksum, published_at
FROM v_models
WHERE name = {model:String}
ORDER BY version DESC
LIMIT {limit:UInt32}
