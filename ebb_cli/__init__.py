"""The `ebb` command line: one module a command, imported when the command is called."""

import sys

from ebb.errors import EbbError


def main() -> None:
    """Run the command line; an `EbbError` becomes one message and exit code 1, without a traceback."""
    from ebb_cli.app import build  # noqa: PLC0415 - importing ebb_cli must not import typer

    try:
        build(sys.argv[1:])()
    except EbbError as error:
        from rich.console import Console  # noqa: PLC0415

        Console(stderr=True, soft_wrap=True).print(str(error), style="red", markup=False, highlight=False)
        sys.exit(1)
