"""TCP ports of the parts: the one that was asked for, or a free one if none was."""

import contextlib
import errno
import socket
from collections.abc import Collection

import psutil

from ebb.errors import SetupError
from ebb.settings import Settings

LOOPBACK = "127.0.0.1"


def free_port(host: str = LOOPBACK) -> int:
    """Return a port that nothing listens on; the system picks it."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Return whether a server could listen on a port now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As servers do: connections of an earlier run in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def answers(port: int, host: str = LOOPBACK) -> bool:
    """Return whether something accepts connections on a port."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def holder(port: int) -> str:
    """Return the name of the process that listens on a port; "another process" if the system hides it."""
    with contextlib.suppress(psutil.Error, PermissionError):
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listens and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    return "another process"


def choose(settings: Settings, field: str, host: str = LOOPBACK, *, taken: Collection[int] = ()) -> int:
    """Return the port for one part.

    Parameters
    ----------
    field
        Name of the setting, such as `api_port`. A port given explicitly is used or refused; a default that is in use
        is replaced by a free port.
    taken
        Ports already assigned to other parts.

    Raises
    ------
    SetupError
        If the port was asked for and is taken.
    """
    port: int = getattr(settings, field)
    if port not in taken and is_free(port, host):
        return port
    if field in settings.model_fields_set:
        variable = f"EBB_{field.upper()}"
        what = f"Port {port}, asked for by {variable}, is taken by {holder(port)}."
        hint = (
            f"Stop that process (`ss -ltnp 'sport = :{port}'` shows it), give {variable} another number, "
            "or unset it to have a free one chosen."
        )
        raise SetupError(what, hint)
    while (port := free_port(host)) in taken:
        pass
    return port
