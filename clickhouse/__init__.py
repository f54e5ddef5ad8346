"""ClickHouse: migrations, named queries, the store that other rooms write to, and the embedded server over chDB."""
