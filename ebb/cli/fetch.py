"""`ebb fetch`: what the first start needs from the network, ahead of time."""

from rich.console import Console

from ebb.cli.progress import fetching
from ebb.runtime import jars
from ebb.settings import read_settings


def fetch() -> None:
    """Fetch Kafka's jars into EBB_LIB, check them, and do nothing if they are there.

    Raises
    ------
    SetupError
        If the network does not reach them or they are not the ones that were pinned.
    """
    with fetching(Console()) as progress:
        jars.classpath(read_settings().lib, progress=progress)
