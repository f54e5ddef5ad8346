"""The console of the commands, and progress bars."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ebb_cli.local import jars

ANSWER_SECONDS = 10
"""How long a command waits for Kafka or ClickHouse before it says that there is no answer."""


def console() -> Console:
    """Return the console of a command; without a terminal it is 120 columns wide, so that addresses fit on a line.

    Nothing that it prints is markup or the name of an emoji: names, reasons and files come from people.
    """
    plain = partial(Console, highlight=False, markup=False, emoji=False)
    screen = plain()
    return screen if screen.is_terminal else plain(width=120)


@contextmanager
def fetching(screen: Console) -> Iterator[jars.Progress]:
    """Show a progress bar while Kafka's jars are downloaded; nothing if they are there already."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=screen, disable=not screen.is_terminal) as bar:
        task = None

        def progress(done: int, total: int) -> None:
            nonlocal task
            if task is None:
                task = bar.add_task("Downloading Kafka", total=total)
                if not screen.is_terminal:
                    screen.print(f"Downloading Kafka ({total - done} files) …")
            bar.update(task, completed=done)

        yield progress
