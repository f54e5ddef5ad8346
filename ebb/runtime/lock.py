"""One runtime a home: a lock that the system releases by itself when its holder dies."""

import fcntl
import os
from pathlib import Path
from typing import Self

from ebb.errors import SetupError


class HomeLock:
    """Holds the data folder for this process; a context manager.

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
        self.home.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 32).decode(errors="replace").strip() or "unknown"
            os.close(file)
            what = f"Ebb is already running on {self.home} (process {holder})."
            hint = "Stop that one first, or give this one a folder of its own by EBB_HOME."
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
        """Return the descriptor; whoever inherits it holds the home too."""
        if self._file is None:
            message = "the lock is not held"
            raise ValueError(message)
        return self._file
