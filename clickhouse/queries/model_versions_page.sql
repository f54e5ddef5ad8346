-- The published versions of a model below one, newest first.
SELECT version, role, schema_hash, trained_until, examples, metrics, checksum, published_at
FROM v_models
WHERE name = {model:String} AND version < {before:UInt64}
ORDER BY version DESC
LIMIT {limit:UInt32}
