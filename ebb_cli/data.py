"""`ebb reset`: back to an empty home."""

import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ebb.settings import read_settings
from ebb_cli.console import fetching
from ebb_cli.local import jars
from ebb_cli.local.home import HomeLock


def reset(
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Empty the data of this home: topics, state, history, models, logs. What was fetched (EBB_LIB) stays.

    Raises
    ------
    SetupError
        If Ebb is running on the home.
    """
    settings = read_settings()
    home, lib = settings.home.absolute(), settings.lib.absolute()
    if not home.exists():
        typer.echo(f"{home} is empty already.")
        return
    with HomeLock(home) as lock:
        doomed = [path for path in sorted(home.iterdir()) if not lib.is_relative_to(path) and path != lock.path]
        if not doomed:
            typer.echo(f"{home} is empty already.")
            return
        if not yes:
            typer.confirm(f"Delete {', '.join(path.name for path in doomed)} in {home}?", abort=True)
        for path in doomed:
            _delete(path)
    typer.echo(f"{home} is empty.")


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def fetch() -> None:
    """Fetch Kafka's jars into EBB_LIB, check them, and do nothing if they are there.

    Raises
    ------
    SetupError
        If the network does not reach them or they are not the ones that were pinned.
    """
    with fetching(Console()) as progress:
        jars.classpath(read_settings().lib, progress=progress)
