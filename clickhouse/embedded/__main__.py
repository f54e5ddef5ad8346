"""`python -m clickhouse.embedded`: the embedded ClickHouse on loopback until SIGTERM or SIGINT."""

import logging
import signal
import socket
import sys

import uvicorn

from clickhouse.embedded.bounded_head import BoundedHeadProtocol
from clickhouse.embedded.server import BrokenResultFilter, Server
from ebb.errors import EbbError, SetupError
from ebb.home_password import home_password
from ebb.log import configure_logging, get_logger
from ebb.settings import settings

HOST = "127.0.0.1"
"""Only this machine may connect: passwords go over the connection in clear."""
GRACE_SECONDS = 15
"""Time for running statements to finish when the server stops."""


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
    """Serve until SIGTERM or SIGINT; exit 0 after a clean stop, else 1 with the reason in one line."""
    try:
        config = settings()
        configure_logging(config, "clickhouse")
        sock = listen(config.clickhouse_port)
        password = config.clickhouse_password or home_password(config.home)
        server = Server(config.home / "clickhouse", user=config.clickhouse_user, password=password)
    except EbbError as error:
        print(error, file=sys.stderr)  # noqa: T201 - before logging is configured
        sys.exit(1)
    for stop in (signal.SIGTERM, signal.SIGINT):
        # uvicorn handles these while it serves and raises them again once stopped; the process must survive that.
        signal.signal(stop, lambda *_: None)
    options = uvicorn.Config(
        server.app,
        http=BoundedHeadProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=GRACE_SECONDS,
        # Longer than the pause between two inserts of a part, so that it can reuse its connection.
        timeout_keep_alive=60,
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(BrokenResultFilter())
    get_logger(__name__).info("serving", url=f"http://{HOST}:{config.clickhouse_port}")
    try:
        uvicorn.Server(options).run(sockets=[sock])
    finally:
        server.close()


if __name__ == "__main__":
    main()
