"""The `ebb` command line. Each command lives in a module of its own, which is imported when it is called."""

import sys

from ebb.errors import EbbError


def main() -> None:
    """Run the command line; an error of ours becomes one message and exit code 1, without a traceback."""
    from ebb_cli.app import build  # noqa: PLC0415 - who imports ebb_cli for one command needs no typer app

    try:
        build(sys.argv[1:])()
    except EbbError as error:
        from rich.console import Console  # noqa: PLC0415

        Console(stderr=True, soft_wrap=True).print(str(error), style="red", markup=False, highlight=False)
        sys.exit(1)
