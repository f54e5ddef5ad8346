"""The embedded ClickHouse as a process of its own, as `ebb up` runs it."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from ebb.home_password import home_password
from ebb.settings import Settings

START_SECONDS = 180
"""As patient as the supervisor is with a part: a busy machine needs ten times what an idle one does."""


class Embedded:
    """`python -m clickhouse.embedded` over one directory and port; may be stopped, killed and started again."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.settings = Settings(
            home=home,
            clickhouse_port=port,
            clickhouse_url=f"http://127.0.0.1:{port}",
            clickhouse_password=home_password(home),
        )
        self.log = home / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address of the HTTP interface."""
        return self.settings.clickhouse_url

    @property
    def auth(self) -> tuple[str, str]:
        """User and password, as httpx takes them."""
        return self.settings.clickhouse_user, self.settings.clickhouse_password

    def start(self) -> None:
        """Start the process and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "clickhouse.embedded"],
                env={**os.environ, **self.settings.environment()},
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def answers(self) -> bool:
        """Return whether `/ping` answers."""
        try:
            return httpx.get(f"{self.url}/ping", timeout=2).text == "Ok.\n"
        except httpx.TransportError:
            return False

    def stop(self) -> int:
        """Ask it to stop (SIGTERM); return the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)
