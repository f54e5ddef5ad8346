"""A TCP proxy before ClickHouse that holds back responses to inserts, so that the client hangs at a known point."""

import select
import socket
import socketserver
import threading
from contextlib import AbstractContextManager
from typing import Self
from urllib.parse import parse_qs, urlsplit

from ebb.settings import Settings


class Hold:
    """One insert whose response is held back."""

    def __init__(self) -> None:
        self.answered = threading.Event()
        """Set when ClickHouse has stored the rows and answered."""
        self._over = threading.Event()
        self._passed = threading.Event()

    def release(self) -> None:
        """Forward the response; when this returns it is in the client's socket, even if the client is stopped."""
        self._over.set()
        assert self._passed.wait(30), "the client no longer reads the response"

    def _pass(self, client: socket.socket, answer: bytes) -> None:
        self.answered.set()
        self._over.wait()
        client.sendall(answer)
        self._passed.set()


class Withheld(AbstractContextManager["Withheld"]):
    """Forwards everything except the responses to be held back.

    Parameters
    ----------
    table
        Inserts into it can be held.
    """

    def __init__(self, settings: Settings, table: str) -> None:
        upstream = urlsplit(settings.clickhouse_url)
        self._there = (upstream.hostname or "", upstream.port or 0)
        self._begins = f"INSERT INTO {table} "
        self._asked: Hold | None = None
        self._holds: list[Hold] = []
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                outer._serve(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def next(self) -> Hold:
        """Hold back the response to the next insert; earlier ones stay held until they are released."""
        self._asked = Hold()
        self._holds.append(self._asked)
        return self._asked

    def release_all(self) -> None:
        """Release every held response and hold back no more."""
        self._asked = None
        for hold in self._holds:
            hold._over.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _serve(self, client: socket.socket) -> None:
        hold: Hold | None = None
        with socket.create_connection(self._there) as server:
            while True:
                ready, _, _ = select.select([client, server], [], [])
                source = ready[0]
                if not (data := source.recv(65_536)):
                    return
                if source is client:
                    hold = hold or self._claimed(data)
                    server.sendall(data)
                elif hold is None:
                    client.sendall(data)
                else:
                    hold._pass(client, data)
                    hold = None

    def _claimed(self, data: bytes) -> Hold | None:
        """Return the pending hold if these bytes begin an insert into the table."""
        if self._asked is None or not data.startswith(b"POST "):
            return None
        target = data.split(b" ", 2)[1].decode()
        statement = parse_qs(urlsplit(target).query).get("query", [""])[0].replace("`", "")
        if not statement.startswith(self._begins):
            return None
        taken, self._asked = self._asked, None
        return taken
