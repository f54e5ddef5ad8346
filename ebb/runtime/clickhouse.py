"""Embedded ClickHouse as a part: the engine behind ClickHouse's own HTTP interface on a local port."""

from ebb.runtime.parts import Part, environment, module, responds
from ebb.settings import Settings


def clickhouse(settings: Settings) -> Part:
    """Describe the process; it keeps its data in `settings.home/clickhouse`."""
    url = f"{settings.clickhouse_url}/ping"
    return Part("clickhouse", module("clickhouse"), environment(settings), lambda: responds(url), grace=30)
