"""A TCP proxy before ClickHouse that holds back answers to inserts: whoever made one hangs at a known place."""

import select
import socket
import socketserver
import threading
from contextlib import AbstractContextManager
from typing import Self
from urllib.parse import parse_qs, urlsplit

from ebb.settings import Settings


class Hold:
    """One insert whose answer is held back."""

    def __init__(self) -> None:
        self.answered = threading.Event()
        """Set when ClickHouse has stored the rows and answered."""
        self._over = threading.Event()
        self._passed = threading.Event()

    def let_go(self) -> None:
        """Pass the answer on; when this returns it lies ready for whoever waits for it, even if that one is stopped."""
        self._over.set()
        assert self._passed.wait(30), "nobody takes the answer any more"

    def _pass(self, client: socket.socket, answer: bytes) -> None:
        self.answered.set()
        self._over.wait()
        client.sendall(answer)
        self._passed.set()


class Withheld(AbstractContextManager["Withheld"]):
    """Passes everything on, but for the answers that are asked to be held.

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
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def next(self) -> Hold:
        """Hold back the answer to the next insert; those before it stay held until they are let go."""
        self._asked = Hold()
        self._holds.append(self._asked)
        return self._asked

    def let_all_go(self) -> None:
        """Hold back nothing more."""
        self._asked = None
        for hold in self._holds:
            hold._over.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.let_all_go()
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
        """Return the hold that was asked for if these bytes begin an insert into the table."""
        if self._asked is None or not data.startswith(b"POST "):
            return None
        target = data.split(b" ", 2)[1].decode()
        statement = parse_qs(urlsplit(target).query).get("query", [""])[0].replace("`", "")
        if not statement.startswith(self._begins):
            return None
        taken, self._asked = self._asked, None
        return taken
