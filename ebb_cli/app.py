"""The commands of `ebb` and the module of each. Only the module of the command that is called is imported."""

import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer

from ebb import __version__


class _Command(NamedTuple):
    module: str
    """Module of `ebb_cli` that holds a function of the command's name, or a typer app with commands of its own."""
    summary: str


COMMANDS: dict[str, _Command] = {
    "up": _Command("up", "Start the whole system on this machine and keep it running."),
    "watch": _Command("watch", "Print alerts as they are raised."),
    "status": _Command("status", "Show what runs on this home and how far it is."),
    "replay": _Command("replay.command", "Send a recorded log through the system and print the results."),
    "evaluate": _Command("evaluate.command", "Measure how well a labelled table can be predicted, and write a report."),
    "simulate": _Command("simulate", "Send the activity of simulated customers."),
    "worker": _Command("run", "Run one more stream worker here."),
    "learner": _Command("run", "Run the learner here."),
    "api": _Command("run", "Run the API here."),
    "keys": _Command("keys", "Create, list and revoke API keys."),
    "webhooks": _Command("webhooks", "List and test the receivers of alerts, and create signing secrets."),
    "fetch": _Command("data", "Download Kafka's jars, which the first start needs."),
    "models": _Command("models", "Inspect the models, and request a change of the champion."),
    "reset": _Command("data", "Delete the data of this home."),
    "docs": _Command("docs", "Write the reference pages from the code."),
}


def build(arguments: Sequence[str]) -> typer.Typer:
    """Return the command line, complete for the command that the arguments name, with a summary for each other one."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback()(_ebb)
    called = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, command in COMMANDS.items():
        if name == called:
            function = getattr(import_module(f"ebb_cli.{command.module}"), name)
            if isinstance(function, typer.Typer):
                app.add_typer(function, name=name)
                continue
            app.command(name, help=_help(function))(function)
        else:
            app.command(name, help=command.summary)(_outline)
    return app


def _version(requested: bool) -> None:
    if requested:
        typer.echo(f"ebb {__version__}")
        raise typer.Exit


def _ebb(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Scores, live, how likely each customer is to leave. Settings are EBB_… variables; see docs/settings.md."""


def _outline() -> None:
    """Do nothing: the placeholder of a command that was not called."""


def _help(function: Callable[..., Any]) -> str:
    """Return the docstring without its sections, which are for readers of the code."""
    return (inspect.getdoc(function) or "").split("\n\nParameters\n")[0].split("\n\nRaises\n")[0]
