"""`run.json`: where the system that runs on a home can be reached, for the commands that join it."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import psutil

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
    """Return the file, which exists while a system runs."""
    return home / "run.json"


def write(settings: Settings, addresses: dict[str, str]) -> None:
    """Tell other commands how to reach this process's system. Keys and passwords are not written."""
    shared = settings.model_dump(mode="json", include=set(_SHARED))
    content = {"pid": os.getpid(), "settings": shared, "addresses": addresses}
    fresh = path(settings.home).with_suffix(".tmp")
    fresh.write_text(json.dumps(content, indent=2))
    os.replace(fresh, path(settings.home))


def remove(home: Path) -> None:
    """Take the file away; none is fine."""
    path(home).unlink(missing_ok=True)


def read(home: Path) -> dict[str, Any] | None:
    """Return what the running system wrote, None if none runs (a file left by a killed one does not count)."""
    with contextlib.suppress(OSError, ValueError):
        content: dict[str, Any] = json.loads(path(home).read_text())
        if psutil.pid_exists(int(content["pid"])):
            return content
    return None


def attach(settings: Settings) -> Settings:
    """Return settings that reach the system running on this home, where there is one; explicit settings stay."""
    content = read(settings.home)
    if content is None:
        return settings
    update = {name: content["settings"][name] for name in _SHARED if name not in settings.model_fields_set}
    return settings.model_copy(update=update)
