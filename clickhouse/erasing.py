"""Delete a customer's rows, and count them."""

from dataclasses import dataclass

from clickhouse_connect.driver.exceptions import Error as ClickHouseError

from clickhouse.client import connect
from clickhouse.errors import reraise
from ebb.settings import PlaceSettings

_UNTIL = "customer_id = {customer:String} AND as_of <= fromUnixTimestamp64Milli({time:Int64})"
_OF_CUSTOMER: dict[str, str] = {
    # What a customer does after the erasure is kept, so each table is deleted up to it.
    "events": "customer_id = {customer:String} AND (partition != {partition:Int64} OR offset <= {offset:UInt64})",
    "features": _UNTIL,
    "scores": _UNTIL,
    "alerts": _UNTIL,
    "alert_handling": _UNTIL,
    "outcomes": "customer_id = {customer:String} AND snapshot_day <= "
    "toDate(toDateTime(intDiv({time:Int64}, 1000), 'UTC'))",
    # Rows from before the column, and those of a wrong key, which name two customers, are found by the id they quote.
    "dead_letters": "customer_id = {customer:String} AND (partition != {partition:Int64} OR offset <= {offset:UInt64}) "
    "OR (customer_id = '' OR reason = 'wrong_key') AND position(detail, {quoted:String}) > 0",
}


@dataclass(frozen=True)
class Until:
    """Where in the stream a customer was erased; by default at the end of everything."""

    partition: int = -1
    offset: int = 2**63
    """Of the record in the activity topic; rows of other partitions are deleted whatever their offset."""
    event_time_ms: int = 4_102_444_800_000
    """Greatest event time of rows written before; 2100-01-01 if unknown."""


def erase_rows(settings: PlaceSettings, customer_id: str, until: Until) -> dict[str, int]:
    """Delete the rows of a customer from every table; return how many each held.

    The parts that held them are rewritten without them before this returns, so nothing is left but what ClickHouse
    keeps of replaced parts for some minutes. A second call deletes nothing.

    Raises
    ------
    UnavailableError
        If ClickHouse does not answer.
    RefusedError
        If it refuses.
    """
    parameters: dict[str, object] = {
        "customer": customer_id,
        # Texts quote an id cut as `stream_processors.ingest.decoder` cuts it.
        "quoted": repr(customer_id[:80]),
        "partition": until.partition,
        "offset": until.offset,
        "time": until.event_time_ms,
    }
    deleted: dict[str, int] = {}
    client = connect(settings)
    try:
        for table, condition in _OF_CUSTOMER.items():
            count = f"SELECT count() FROM {table} WHERE {condition}"  # noqa: S608 - both are ours
            used = {name: value for name, value in parameters.items() if f"{{{name}:" in condition}
            deleted[table] = int(client.query(count, parameters=used).result_rows[0][0])
            if deleted[table]:
                statement = f"ALTER TABLE {table} DELETE WHERE {condition}"
                client.command(statement, parameters=used, settings={"mutations_sync": 2})
    except ClickHouseError as error:
        reraise(error, settings)
    finally:
        client.close_connections()
    return deleted
