"""`ebb watch`: alerts in a terminal, over the WebSocket that any program can use."""

from datetime import datetime
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.text import Text
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from ebb.cli.progress import console
from ebb.errors import UnavailableError
from ebb.messages import Band
from ebb.runtime import run_file
from ebb.runtime.parts import api_url
from ebb.settings import read_settings

_COLOURS = {Band.LOW: "green", Band.MEDIUM: "yellow", Band.HIGH: "dark_orange", Band.CRITICAL: "red"}


def watch(
    band: Annotated[
        list[Band], typer.Option(help="Bands to show; give the option again for each.", show_default=False)
    ] = [Band.HIGH, Band.CRITICAL],  # noqa: B006 - typer reads the default, nobody changes it
    count: Annotated[int, typer.Option(help="Leave after this many alerts; 0 watches on.", min=0)] = 0,
) -> None:
    """Print alerts as they come, until Ctrl-C.

    Raises
    ------
    UnavailableError
        If no API answers.
    """
    settings = run_file.attach(read_settings())
    url = api_url(settings).replace("http", "ws", 1) + "/v1/stream"
    wanted: dict[str, Any] = {"type": "subscribe", "topics": ["alerts"], "bands": sorted(band)}
    if key := settings.api_keys.split(",")[0].strip():
        wanted["api_key"] = key
    screen = console()
    try:
        # Compression would cost more than it saves on this machine's loopback.
        with connect(url, proxy=None, compression=None) as socket:
            socket.send(orjson.dumps(wanted).decode())
            seen = 0
            for message in socket:
                told = orjson.loads(message)
                if told["type"] == "alert":
                    _show(screen, told["data"])
                    seen += 1
                    if seen == count:
                        return
                elif told["type"] == "subscribed":
                    screen.print(f"Watching {url} for alerts in {', '.join(sorted(band))}. Ctrl-C ends it.")
                elif told["type"] == "error":
                    what = f"{url} refuses: {told['data'].get('detail', told['data'])}."
                    raise UnavailableError(what)
    except KeyboardInterrupt:
        return
    except (OSError, ConnectionClosed) as error:
        what = f"{url} does not answer: {error}."
        raise UnavailableError(
            what, "Start Ebb by `make demo` or `ebb up`, or name its port by EBB_API_PORT."
        ) from None


def _show(screen: Console, alert: dict[str, Any]) -> None:
    at = datetime.fromisoformat(alert["as_of"])
    line = Text(f"{at:%Y-%m-%d %H:%M}  ")
    line.append(f"{alert['band']:<9}", style=_COLOURS[Band(alert["band"])])
    line.append(f"{alert['churn']:>4.0%}  {alert['customer_id']}  {alert['why']}")
    screen.print(line, soft_wrap=True)
