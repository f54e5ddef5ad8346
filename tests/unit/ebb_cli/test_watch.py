"""What `ebb watch` writes to the terminal."""

import io

from rich.console import Console

from ebb_cli.watch import _show
from tests.support.sender import make_alert


def test_an_id_neither_steers_the_terminal_nor_is_markup() -> None:
    screen = Console(file=io.StringIO(), width=200, force_terminal=False)
    _show(screen, make_alert("\x1b[2J[red]\u202eab\nc", 0.9))
    assert isinstance(screen.file, io.StringIO)
    written = screen.file.getvalue()
    assert "\\x1b[2J[red]\\u202eab\\nc" in written
    assert written.count("\n") == 1
