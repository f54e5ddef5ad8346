"""The data folder (home): the lock of the process that uses it, and `run.json`, by which other commands join.

`run.json` holds the addresses and settings of the running system and exists while it runs.
"""

import contextlib
import fcntl
import json
import os
from pathlib import Path
from typing import Any, Self

import psutil

from ebb.errors import SetupError
from ebb.home_password import home_password, make_private
from ebb.settings import Settings

_SHARED = (
    "kafka_bootstrap",
    "clickhouse_url",
    "clickhouse_user",
    "api_host",
    "api_port",
    "partitions",
    "day_seconds",
    "clock_origin_wall",
    "clock_origin_event",
)
"""Settings that a command takes from the running system unless they were given to it."""


def path(home: Path) -> Path:
    """Return the path of `run.json`."""
    return home / "run.json"


def write(settings: Settings, addresses: dict[str, str]) -> None:
    """Write how other commands reach this process's system. Keys and passwords are not written.

    That ClickHouse has the home's password, which lies beside, is.
    """
    shared = settings.model_dump(mode="json", include=set(_SHARED))
    own = bool(settings.clickhouse_password) and settings.clickhouse_password == home_password(settings.home)
    content = {"pid": os.getpid(), "settings": shared, "addresses": addresses, "home_password": own}
    fresh = path(settings.home).with_suffix(".tmp")
    fresh.write_text(json.dumps(content, indent=2))
    os.replace(fresh, path(settings.home))


def remove(home: Path) -> None:
    """Remove `run.json` if it exists."""
    path(home).unlink(missing_ok=True)


def read(home: Path) -> dict[str, Any] | None:
    """Return what the running system wrote; None if none runs (the file of a killed one does not count)."""
    with contextlib.suppress(OSError, ValueError):
        content: dict[str, Any] = json.loads(path(home).read_text())
        if psutil.pid_exists(int(content["pid"])):
            return content
    return None


def attach(settings: Settings) -> Settings:
    """Return settings that reach the system running on this home, if there is one; explicit settings are kept."""
    content = read(settings.home)
    if content is None:
        return settings
    update = {name: content["settings"][name] for name in _SHARED if name not in settings.model_fields_set}
    if content.get("home_password") and "clickhouse_url" in update and not settings.clickhouse_password:
        update["clickhouse_password"] = home_password(settings.home)
    return settings.model_copy(update=update)


class HomeLock:
    """Exclusive lock of the data folder for this process; a context manager.

    Raises
    ------
    SetupError
        On entry, if another process holds it.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path = home / "lock"
        self._file: int | None = None

    def __enter__(self) -> Self:
        make_private(self.home)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 32).decode(errors="replace").strip() or "unknown"
            os.close(file)
            what = f"Ebb is already running on {self.home} (process {holder})."
            hint = "Stop that one first, or name another folder by EBB_HOME."
            raise SetupError(what, hint) from None
        os.truncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        self._file = file
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def fileno(self) -> int:
        """Return the descriptor; a process that inherits it holds the lock too."""
        if self._file is None:
            message = "the lock is not held"
            raise ValueError(message)
        return self._file
