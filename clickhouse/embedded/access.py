"""What the engine lets its one user do: the tables of Ebb's databases and the system's to read, and nothing outside.

The engine checks grants, constraints of settings and the rest by itself, whatever a statement looks like. What it
checks no grant for (a scalar function that reads files, engines that run programs) is refused by
`clickhouse.embedded.vetting`.
"""

from xml.sax.saxutils import escape

DATABASES = "ebb*"
"""Databases that may be made, filled and dropped: `ebb` and those of the namespaces, `ebb_<namespace>`."""
ENGINES = frozenset(
    {
        "MergeTree", "ReplacingMergeTree", "SummingMergeTree", "AggregatingMergeTree", "CollapsingMergeTree",
        "VersionedCollapsingMergeTree", "CoalescingMergeTree", "Memory", "Null", "Set", "Join", "Buffer",
    }
)  # fmt: skip
"""Table engines that keep their rows in the engine's own folder or in memory."""
DATABASE_ENGINES = frozenset({"Atomic", "Memory"})
TABLE_FUNCTIONS = frozenset(
    {
        "format", "generate_series", "generaterandom", "generateseries", "input", "merge", "null", "numbers",
        "numbers_mt", "primes", "sqlstandardvalues", "values", "view", "zeros", "zeros_mt",
    }
)  # fmt: skip
"""Table functions, in lower case, that make rows or read tables; any other that the engine has is refused."""

_TABLE_RIGHTS = (
    "SELECT, INSERT, OPTIMIZE, TRUNCATE, CHECK, CREATE DATABASE, CREATE TABLE, CREATE VIEW, "
    "DROP DATABASE, DROP TABLE, DROP VIEW, "
    "ALTER COLUMN, ALTER INDEX, ALTER CONSTRAINT, ALTER PROJECTION, ALTER STATISTICS, ALTER ORDER BY, ALTER SAMPLE BY, "
    "ALTER TTL, ALTER SETTINGS, ALTER UPDATE, ALTER DELETE, ALTER VIEW, SYSTEM MERGES"
)
_GRANTS = (
    "GRANT SHOW ON *.*",
    "GRANT SELECT ON system.*",
    "GRANT SELECT ON information_schema.*",
    "GRANT SELECT ON INFORMATION_SCHEMA.*",
    f"GRANT {_TABLE_RIGHTS} ON {DATABASES}.*",
    *(f"GRANT TABLE ENGINE ON {name}" for name in sorted(ENGINES | DATABASE_ENGINES | {"View", "MaterializedView"})),
)
_FIXED = {
    # Other languages than SQL would say the same in words that are not looked for.
    "dialect": "clickhouse",
    "allow_python_table_function": "0",
    "allow_experimental_eval_table_function": "0",
    # A value such as `file('/etc/passwd')` among the rows of an INSERT would be computed.
    "input_format_values_interpret_expressions": "0",
    "input_format_values_deduce_templates_of_expressions": "0",
    "allow_introspection_functions": "0",
}
"""Settings and the value that they keep."""
_UNCHANGED = (
    # Pieces of SQL, or names of functions, which no check of the statement would see.
    "additional_result_filter", "additional_table_filters", "filter", "function_implementation", "order",
    "parallel_replicas_custom_key", "select", "sort",
    # Files of the machine.
    "format_schema", "format_schema_message_name", "format_schema_source", "format_template_resultset",
    "format_template_resultset_format", "format_template_row", "format_template_row_format",
    "input_format_record_errors_file_path", "output_format_schema", "rename_files_after_processing",
    # Other servers.
    "ai_function_embedding_default_credentials", "ai_function_text_default_credentials",
    "cluster_for_parallel_replicas", "distributed_cache_client_id", "distributed_cache_file_cache_name",
    "format_avro_schema_registry_url", "output_format_avro_confluent_subject", "s3_base",
    "s3_upload_checksum_algorithm", "s3queue_default_zookeeper_path", "url_base",
    # Where and how a table keeps its rows.
    "default_database_engine", "default_table_engine", "default_temporary_table_engine", "default_view_definer",
    "dynamic_disk_allow_from_env", "dynamic_disk_allow_from_zk", "dynamic_disk_allow_include",
    "filesystem_cache_name", "local_filesystem_read_method", "merge_tree_disk", "merge_tree_storage_policy",
    "merge_tree_table_disk", "remote_filesystem_read_method",
    # What would loosen the others, and texts for which nothing here has a use.
    "compatibility", "distributed_plan_force_exchange_kind", "framing_output_format",
    "iceberg_metadata_compression_method", "implicit_table_at_top_level", "metrics_perf_events_list",
    "polyglot_dialect", "promql_database", "promql_table", "send_logs_source_regexp",
    "stream_like_engine_insert_queue", "trace_profile_events_list", "workload",
)  # fmt: skip
"""Settings that keep the engine's own default: every one whose value is a text, but for those of harmless use."""

SERVER = """\
<clickhouse>
    <users_config>{users}</users_config>
    <access_control_improvements>
        <table_engines_require_grant>true</table_engines_require_grant>
    </access_control_improvements>
    <max_server_memory_usage_to_ram_ratio>0.3</max_server_memory_usage_to_ram_ratio>
    <mark_cache_size>134217728</mark_cache_size>
    <background_pool_size>2</background_pool_size>
    <background_schedule_pool_size>4</background_schedule_pool_size>
    <merge_tree>
        <auto_statistics_types></auto_statistics_types>
    </merge_tree>
</clickhouse>
"""
"""Limits for a small machine that other parts share: a third of the memory, small caches, two merges at a time.

No statistics of columns, which are a tenth of what a merge costs: they help to order joins and conditions, and no query
here has several of either to choose from."""
_USERS = """\
<clickhouse>
    <profiles><default>{values}<constraints>{constraints}</constraints></default></profiles>
    <quotas><default/></quotas>
    <users>
        <default>
            <password></password>
            <networks><ip>::/0</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
            <grants>{grants}</grants>
        </default>
    </users>
</clickhouse>
"""


def users_xml() -> str:
    """Return the engine's configuration of users: the one that every connection has, its grants, its fixed settings.

    The password is checked before, by the HTTP interface; a connection to the engine needs none.
    """
    return _USERS.format(
        values="".join(f"<{name}>{value}</{name}>" for name, value in _FIXED.items()),
        constraints="".join(f"<{name}><readonly/></{name}>" for name in (*_FIXED, *_UNCHANGED)),
        grants="".join(f"<query>{escape(grant)}</query>" for grant in _GRANTS),
    )
