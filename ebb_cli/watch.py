"""`ebb watch`: alerts in a terminal, by the public WebSocket API."""

import asyncio
import contextlib
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ebb.client import Gap, Stream
from ebb.contracts.scores import Alert, Band
from ebb.settings import read_settings
from ebb_cli.console import console
from ebb_cli.local import home
from ebb_cli.local.parts import api_url

_COLOURS = {Band.LOW: "green", Band.MEDIUM: "yellow", Band.HIGH: "dark_orange", Band.CRITICAL: "red"}


def watch(
    band: Annotated[
        list[Band], typer.Option(help="Bands to show; give the option again for each.", show_default=False)
    ] = [Band.HIGH, Band.CRITICAL],  # noqa: B006 - typer reads the default, nothing changes it
    count: Annotated[int, typer.Option(help="Exit after this many alerts; 0 never exits.", min=0)] = 0,
) -> None:
    """Print alerts as they are raised, until Ctrl-C.

    Raises
    ------
    UnavailableError
        If no API answers.
    StreamRefusedError
        If it refuses the stream or the key.
    """
    settings = home.attach(read_settings())
    key = next(iter(settings.api_keys), None)
    screen = console()
    stream = Stream(
        api_url(settings),
        api_key=key,
        topics=["alerts"],
        bands=band,
        start_seconds=2,
        report=screen.print,
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_watch(stream, screen, count))


async def _watch(stream: Stream, screen: Console, count: int) -> None:
    seen = 0
    async with stream:
        async for message in stream:
            if isinstance(message, Alert):
                _show(screen, message)
                seen += 1
                if seen == count:
                    return
            elif isinstance(message, Gap):
                screen.print("More alerts were raised while disconnected than the API keeps; the newest follow.")


def _show(screen: Console, alert: Alert) -> None:
    line = Text(f"{alert.as_of:%Y-%m-%d %H:%M}  ")
    line.append(f"{alert.band:<9}", style=_COLOURS[alert.band])
    line.append(f"{alert.churn:>4.0%}  {_printable(alert.customer_id)}  {_printable(alert.why)}")
    screen.print(line, soft_wrap=True)


def _printable(text: str) -> str:
    """Return a text whose characters are all seen: those of an id must not steer the terminal, nor turn its line."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
