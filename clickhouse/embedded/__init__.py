"""A ClickHouse server for one machine: the HTTP interface over the embedded engine (chDB)."""
