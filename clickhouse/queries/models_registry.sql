-- The latest version of every model, champions first.
SELECT *
FROM
(
    SELECT
        name, target, candidate, version, role, schema_hash, trained_until, examples, metrics, checksum, published_at
    FROM v_models
    ORDER BY version DESC
    LIMIT 1 BY name
)
ORDER BY role = 'champion' DESC, name
