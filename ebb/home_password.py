"""The password of a home's embedded services: random, made once, readable by its owner alone."""

import contextlib
import os
import secrets
from pathlib import Path

from ebb.errors import SetupError

FILE = "password"
"""Name of the file in the home."""
LEAST_CHARACTERS = 16
"""Of what is read: a shorter text is not what was written."""
_RANDOM_BYTES = 32


def make_private(folder: Path) -> None:
    """Create a folder, and let nobody but its owner list or enter it; one that belongs to another user stays as it is.

    Parameters
    ----------
    folder
        May exist; its parents are created with the usual rights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(PermissionError):
        folder.chmod(0o700)


def home_password(home: Path) -> str:
    """Return the password of a home; one is made if there is none.

    It is written to a file of mode 0600 under another name first, so no reader ever sees a part of it, and of several
    processes that start at once all get the same.

    Raises
    ------
    SetupError
        If the file cannot be read or written, holds too little, or others may read or change it.
    """
    path = home / FILE
    try:
        make_private(home)
        if not path.exists():
            _create(path)
        return _read(path)
    except OSError as error:
        what = f"The password of the embedded services cannot be kept in {path}: {error.strerror}."
        raise SetupError(what, "Give the user who runs Ebb the folder, or name another by EBB_HOME.") from error


def _create(path: Path) -> None:
    fresh = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, secrets.token_urlsafe(_RANDOM_BYTES).encode() + b"\n")
        os.fsync(file)
        # A link is refused if the name is taken: the first of several wins, and all read what it wrote.
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        os.close(file)
        fresh.unlink()


def _read(path: Path) -> str:
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        mode, text = os.fstat(file), os.read(file, 4096).decode(errors="replace").strip()
    finally:
        os.close(file)
    remedy = f"Stop what runs on the home and delete {path}: the next start makes another."
    if mode.st_mode & 0o077 or os.getuid() not in {0, mode.st_uid}:
        what = f"{path} can be read or changed by other users (mode {mode.st_mode & 0o777:o}, owner {mode.st_uid})."
        raise SetupError(what, remedy)
    if len(text) < LEAST_CHARACTERS:
        what = f"{path} holds fewer than {LEAST_CHARACTERS} characters, which is no password."
        raise SetupError(what, remedy)
    return text
