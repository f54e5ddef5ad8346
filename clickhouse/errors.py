"""ClickHouse's errors as Ebb's: unavailable, where a retry may help, or refused, where it will not."""

import re
from typing import NoReturn

from clickhouse_connect.driver.exceptions import Error as ClickHouseError

from ebb.errors import EbbError, UnavailableError
from ebb.settings import PlaceSettings

TRANSIENT = {
    159: "TIMEOUT_EXCEEDED",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    209: "SOCKET_TIMEOUT",
    210: "NETWORK_ERROR",
    236: "ABORTED",
    241: "MEMORY_LIMIT_EXCEEDED",
    242: "TABLE_IS_READ_ONLY",
    243: "NOT_ENOUGH_SPACE",
    252: "TOO_MANY_PARTS",
    285: "TOO_FEW_LIVE_REPLICAS",
    319: "UNKNOWN_STATUS_OF_INSERT",
    394: "QUERY_WAS_CANCELLED",
    439: "CANNOT_SCHEDULE_TASK",
    473: "DEADLOCK_AVOIDED",
    999: "KEEPER_EXCEPTION",
}
"""Codes of a server that is too busy, too full or shutting down; a retry may help."""
_ABSENT = {60, 81}
"""UNKNOWN_TABLE, UNKNOWN_DATABASE."""
_AUTHENTICATION = {192, 193, 194, 497, 516}
_FULL = re.compile(r"NOT_ENOUGH_SPACE|No space left on device|errno: 28\b|Disk quota exceeded")
"""A full disk, by whichever of ClickHouse's errors it shows."""
_STATUS = re.compile(r"HTTP status (\d{3})")


class RefusedError(EbbError):
    """ClickHouse refuses a statement; sending it again would not help."""


class InsertRefusedError(RefusedError):
    """ClickHouse, or the check before it, refused rows of `table`, for `reason`."""

    def __init__(self, table: str, reason: str, hint: str = "") -> None:
        super().__init__(f"An insert into {table} was refused: {reason}", hint)
        self.table = table
        self.reason = reason


def unavailable(settings: PlaceSettings, reason: object) -> UnavailableError:
    """Make the error for a server that does not answer, or whose disk is full."""
    if _FULL.search(str(reason)):
        what = f"The disk of ClickHouse at {settings.clickhouse_url} is full: {reason}."
        return UnavailableError(what, "Free space on it; what waits goes on by itself.")
    what = f"ClickHouse at {settings.clickhouse_url} is not available: {reason}."
    return UnavailableError(what, "Check that it runs and that EBB_CLICKHOUSE_URL names it.")


def is_transient(error: ClickHouseError) -> bool:
    """Return whether the same request may succeed later."""
    if _FULL.search(str(error)):
        return True
    if error.code is not None:
        return error.code in TRANSIENT
    status = _STATUS.search(str(error))
    # No code and no status: the connection failed. A status without a code comes from a proxy.
    return status is None or int(status.group(1)) >= 500 or status.group(1) == "429"


def hint_for(error: ClickHouseError, settings: PlaceSettings) -> str:
    """Return what the reader can do about a refusal."""
    if error.code in _ABSENT:
        return f"Database {settings.database} was reset or never migrated; start the part again, it migrates first."
    if error.code in _AUTHENTICATION:
        return "Check EBB_CLICKHOUSE_USER and EBB_CLICKHOUSE_PASSWORD."
    return ""


def reraise(error: ClickHouseError, settings: PlaceSettings) -> NoReturn:
    """Raise what a failed statement means to Ebb.

    Raises
    ------
    UnavailableError
        If the server is down or too busy.
    RefusedError
        If it refuses the statement.
    """
    if is_transient(error):
        raise unavailable(settings, error) from error
    what = f"ClickHouse refused a statement: {error}"
    raise RefusedError(what, hint_for(error, settings)) from error
