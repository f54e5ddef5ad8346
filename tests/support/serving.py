"""Runs the API as it runs in production, as a process of its own, in a namespace of its own."""

import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from clickhouse.migrations import migrate
from ebb.kafka.admin import create_topics
from ebb.settings import Settings
from ebb_cli.local.parts import api, api_url
from ebb_cli.local.ports import free_port
from ebb_cli.local.supervisor import Supervisor
from tests.support.sender import TopicSender

ANSWER_SECONDS = 30.0
"""Longest wait for an answer or a message: a busy machine stalls for seconds."""
_CONNECTIONS = httpx.Limits(max_keepalive_connections=0)
"""No connection is reused: the API closes one that was idle for 5 s, and a request sent just then is lost."""


@dataclass(frozen=True)
class Api:
    """A running API and the means to feed and ask it."""

    settings: Settings
    sender: TopicSender
    client: httpx.Client
    supervisor: Supervisor
    sockets: ExitStack
    """Closes at the end what a test left open."""
    logs: Path
    """Folder of what it logs."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return api_url(self.settings)

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        """Ask for a path."""
        return self.client.get(path, params=parameters)

    def socket(self, **options: Any) -> ClientConnection:
        """Open a WebSocket to `/v1/stream`."""
        address = f"{self.url.replace('http', 'ws', 1)}/v1/stream"
        socket: ClientConnection = self.sockets.enter_context(
            connect(address, proxy=None, open_timeout=ANSWER_SECONDS, **options)
        )
        return socket

    def subscribed(self, **said: Any) -> "Listener":
        """Open a WebSocket, subscribe and read the answer."""
        socket = self.socket()
        socket.send(json.dumps({"type": "subscribe", **said}))
        return Listener(socket)


class Listener:
    """A subscribed client that reads messages as dictionaries."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.answer = self.next()

    def next(self, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """Return the next message that is no heartbeat."""
        while (message := self.any(seconds))["type"] == "heartbeat":
            pass
        return message

    def any(self, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """Return the next message."""
        message: dict[str, Any] = json.loads(self.socket.recv(timeout=seconds))
        return message


def fresh(stack: Settings, **changes: Any) -> Settings:
    """Return settings of a new namespace with its topics and database."""
    values = {"namespace": f"s{secrets.token_hex(4)}", "partitions": 4, "api_port": free_port(), **changes}
    settings = Settings(**{**stack.model_dump(), **values})
    create_topics(settings)
    migrate(settings)
    return settings


@contextmanager
def serving(settings: Settings) -> Iterator[Api]:
    """Run the API with these settings; it is ready when the block begins and has stopped when it ends.

    A crash fails the test, though the supervisor would have started the API again.
    """
    said: list[str] = []
    with TemporaryDirectory() as logs:
        supervisor = Supervisor([api(settings)], logs=Path(logs), report=said.append)
        try:
            supervisor.start()
            with (
                httpx.Client(
                    base_url=api_url(settings), trust_env=False, timeout=ANSWER_SECONDS, limits=_CONNECTIONS
                ) as client,
                ExitStack() as sockets,
            ):
                yield Api(settings, TopicSender(settings), client, supervisor, sockets, Path(logs))
        finally:
            supervisor.stop()
    assert not [line for line in said if " ended (" in line]
