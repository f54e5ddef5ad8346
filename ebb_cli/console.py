"""What a person sees while they wait."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ebb_cli.local import jars


def console() -> Console:
    """Return the console of a command; wide enough, where it is no terminal, that addresses stay on one line."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=120)


@contextmanager
def fetching(screen: Console) -> Iterator[jars.Progress]:
    """Show a bar while Kafka's jars are fetched; nothing if they are there already."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=screen, disable=not screen.is_terminal) as bar:
        task = None

        def progress(done: int, total: int) -> None:
            nonlocal task
            if task is None:
                task = bar.add_task("Fetching Kafka", total=total)
                if not screen.is_terminal:
                    screen.print(f"Fetching Kafka ({total - done} files) …")
            bar.update(task, completed=done)

        yield progress
