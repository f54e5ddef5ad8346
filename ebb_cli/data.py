"""`ebb fetch` and `ebb reset`: the files of this home, downloaded before the first start and deleted on request."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from ebb.settings import read_settings
from ebb_cli.console import console, fetching
from ebb_cli.local import jars
from ebb_cli.local.home import HomeLock


def fetch() -> None:
    """Download Kafka's jars into EBB_LIB and verify them; those that are there already are only verified.

    Raises
    ------
    SetupError
        If a jar cannot be downloaded, or is not the one that was pinned.
    """
    with fetching(console()) as progress:
        jars.classpath(read_settings().lib, progress=progress)


def reset(
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete the data of this home: topics, state, history, models, logs. Downloads (EBB_LIB) are kept.

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
        paths = [path for path in sorted(home.iterdir()) if not lib.is_relative_to(path) and path != lock.path]
        if not paths:
            typer.echo(f"{home} is empty already.")
            return
        if not yes:
            typer.confirm(f"Delete {', '.join(path.name for path in paths)} in {home}?", abort=True)
        for path in paths:
            _delete(path)
    typer.echo(f"{home} is empty.")


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
