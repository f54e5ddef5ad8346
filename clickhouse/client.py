"""The connection to ClickHouse, embedded or a real server: the same client and SQL."""

import logging
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error as ClickHouseError
from clickhouse_connect.driver.httputil import get_pool_manager

from clickhouse.errors import reraise
from ebb.errors import SettingsError
from ebb.loopback import LOOPBACK
from ebb.settings import PlaceSettings

CONNECT_TIMEOUT_SECONDS = 5
RESPONSE_TIMEOUT_SECONDS = 120
"""Longest that a response may take before its request counts as lost."""
CONNECTIONS = 16
"""Connections kept open; further threads open more and close them."""


def is_local(settings: PlaceSettings) -> bool:
    """Return whether ClickHouse runs on this machine, where compression costs more than it saves."""
    return urlsplit(settings.clickhouse_url).hostname in LOOPBACK


def connect(settings: PlaceSettings, *, database: str | None = None, seconds: int | None = None) -> Client:
    """Open a client that several threads may share.

    Parameters
    ----------
    database
        Database of unqualified names; that of the settings if None. It need not exist yet.
    seconds
        How long to wait for the connection, and for each part of a response; 5 and 120 s if None.

    Raises
    ------
    UnavailableError
        If the server does not answer.
    RefusedError
        If it refuses user or password.
    SettingsError
        If the URL is not one.
    """
    url = urlsplit(settings.clickhouse_url)
    if url.scheme not in {"http", "https"} or not url.hostname:
        what = f"EBB_CLICKHOUSE_URL is {settings.clickhouse_url!r}, which is not an HTTP address."
        raise SettingsError(what, "Write it as http://host:8123.")
    # The driver logs each failed request with a traceback; here a failure is an exception.
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    try:
        client = clickhouse_connect.get_client(
            host=url.hostname,
            port=url.port or (8443 if url.scheme == "https" else 8123),
            interface=url.scheme,
            proxy_path=url.path,
            username=settings.clickhouse_user,
            password=settings.clickhouse_password,
            connect_timeout=seconds or CONNECT_TIMEOUT_SECONDS,
            send_receive_timeout=seconds or RESPONSE_TIMEOUT_SECONDS,
            # Statements of one session cannot run in parallel; Ebb's run from several threads.
            autogenerate_session_id=False,
            client_name="ebb",
            tz_mode="aware",
            compress=not is_local(settings),
            pool_mgr=get_pool_manager(maxsize=CONNECTIONS, num_pools=2),
        )
    except ClickHouseError as error:
        reraise(error, settings)
    client.database = settings.database if database is None else database
    return client
