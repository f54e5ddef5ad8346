"""`ebb status`: what runs on this home."""

from rich.table import Table

from ebb.cli.progress import console
from ebb.cli.summary import fetch_summary, line
from ebb.errors import UnavailableError
from ebb.runtime import run_file
from ebb.runtime.parts import api_url
from ebb.settings import read_settings


def status() -> None:
    """Say what runs on this home, where it can be reached, and how far it is.

    Raises
    ------
    UnavailableError
        If nothing runs on it.
    """
    asked = read_settings()
    content = run_file.read(asked.home)
    if content is None:
        what = f"Nothing runs on {asked.home.absolute()}."
        raise UnavailableError(what, "Start Ebb by `make demo` or `ebb up`.")
    screen = console()
    screen.print(address_table(content["addresses"], f"Ebb runs as process {content['pid']}"))
    settings = run_file.attach(asked)
    summary = fetch_summary(api_url(settings), settings)
    screen.print(line(summary) if summary else "The API does not answer at the moment.", soft_wrap=True)


def address_table(addresses: dict[str, str], title: str) -> Table:
    """Lay out where everything is found."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
    for what, where in addresses.items():
        table.add_row(what, where)
    return table
