"""`python -m clickhouse.embedded`: the embedded ClickHouse on loopback until SIGTERM or SIGINT."""

import logging
import signal
import socket
import sys

import uvicorn

from clickhouse.embedded.server import BrokenOff, Server
from ebb.errors import EbbError, SetupError
from ebb.log import configure_logging, get_logger
from ebb.settings import settings

HOST = "127.0.0.1"
"""The embedded engine has no users to speak of, so only this machine may speak to it."""
GRACE_SECONDS = 15
"""Time that statements under way get to finish when the server stops."""


def listen(port: int) -> socket.socket:
    """Return a socket bound to `port` on loopback.

    Raises
    ------
    SetupError
        If the port is taken.
    """
    # With the protocol named, asyncio turns Nagle's algorithm off; without it each answer takes 40 ms more.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((HOST, port))
    except OSError as error:
        sock.close()
        what = f"Port {port} on {HOST} cannot be used: {error.strerror}."
        raise SetupError(what, "Set EBB_CLICKHOUSE_PORT to a free one.") from error
    return sock


def main() -> None:
    """Serve until SIGTERM or SIGINT; exit 0 after a clean stop, 1 with a one-line reason otherwise."""
    try:
        config = settings()
        configure_logging(config, "clickhouse")
        sock = listen(config.clickhouse_port)
        server = Server(config.home / "clickhouse", user=config.clickhouse_user, password=config.clickhouse_password)
    except EbbError as error:
        print(error, file=sys.stderr)  # noqa: T201 - for the person who started it, before any log
        sys.exit(1)
    for stop in (signal.SIGTERM, signal.SIGINT):
        # uvicorn takes these over while it serves and raises them again when it has stopped; that must not kill us.
        signal.signal(stop, lambda *_: None)
    options = uvicorn.Config(
        server.app,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=GRACE_SECONDS,
        # Longer than parts pause between inserts, so that they find their connection open.
        timeout_keep_alive=60,
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(BrokenOff())
    get_logger(__name__).info("serving", url=f"http://{HOST}:{config.clickhouse_port}")
    try:
        uvicorn.Server(options).run(sockets=[sock])
    finally:
        server.close()


if __name__ == "__main__":
    main()
