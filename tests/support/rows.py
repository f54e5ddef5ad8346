"""Rows of any table of ClickHouse, with something plausible in every column that a test does not name."""

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from clickhouse.tables import SCHEMAS

MOMENT = datetime(2026, 1, 5, 12, tzinfo=UTC)


def table_rows(table: str, rows: list[dict[str, Any]]) -> pa.Table:
    """Return rows of a table; columns that are not given hold a default of their type."""
    schema = SCHEMAS[table]
    columns = {field.name: [row.get(field.name, _default(field)) for row in rows] for field in schema}
    return pa.table(columns, schema=schema)


def _default(field: pa.Field) -> object:
    if field.nullable:
        return None
    if pa.types.is_timestamp(field.type):
        return MOMENT
    if pa.types.is_date(field.type):
        return date(2026, 1, 5)
    return "" if pa.types.is_string(field.type) else 0
