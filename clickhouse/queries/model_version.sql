-- One version of a model, with all that is needed to serve it again.
SELECT
    name, target, candidate, version, role, schema_hash, trained_until, examples, metrics, checksum, published_at, config,
    payload
FROM v_models
WHERE name = {model:String} AND version = {version:UInt32}
