"""`ebb status`: what runs on this home, its addresses and its progress."""

from typing import Any

import httpx
from rich.table import Table

from ebb.errors import UnavailableError
from ebb.settings import Settings, read_settings
from ebb_cli.console import console
from ebb_cli.local import home
from ebb_cli.local.parts import api_url


def status() -> None:
    """Show what runs on this home, where it can be reached, and how far it is.

    Raises
    ------
    UnavailableError
        If nothing runs on it.
    """
    given = read_settings()
    running = home.read(given.home)
    if running is None:
        what = f"Nothing runs on {given.home.absolute()}."
        raise UnavailableError(what, "Start Ebb by `make demo` or `ebb up`.")
    screen = console()
    screen.print(address_table(running["addresses"], f"Ebb runs as process {running['pid']}"))
    settings = home.attach(given)
    summary = fetch_summary(api_url(settings), settings)
    screen.print(line(summary) if summary else "The API does not answer at the moment.", soft_wrap=True)


def fetch_summary(base: str, settings: Settings) -> dict[str, Any] | None:
    """Return `GET /v1/summary`, None if the API does not answer (yet)."""
    try:
        response = httpx.get(f"{base}/v1/summary", headers=headers(settings), timeout=2, trust_env=False)
    except httpx.HTTPError:
        return None
    summary: dict[str, Any] | None = response.json() if response.status_code == httpx.codes.OK else None
    return summary


def headers(settings: Settings) -> dict[str, str]:
    """Return the header that carries the first API key, where keys are set."""
    return {"Authorization": f"Bearer {settings.api_keys[0]}"} if settings.api_keys else {}


def line(summary: dict[str, Any]) -> str:
    """Format a summary as one line.

    >>> line({"event_time": "2026-03-01T05:00:00Z", "customers": 1200, "labels": {"matured": 0}})
    '2026-03-01 05:00 · 1,200 customers scored · no label matured yet'
    """
    fields = [summary["event_time"][:16].replace("T", " "), f"{summary['customers']:,} customers scored"]
    bands = {band["band"]: band["customers"] for band in summary.get("bands") or ()}
    if bands:
        fields.append(f"{bands.get('critical', 0):,} critical, {bands.get('high', 0):,} high")
    if flow := summary.get("pipeline"):
        fields.append(f"{flow['events_per_second']:,.0f} events/s, lag {flow['lag_events']:,}")
    matured = (summary.get("labels") or {}).get("matured")
    fields.append(f"{matured:,} labels matured" if matured else "no label matured yet")
    if (auc := realised_auc(summary)) is not None:
        fields.append(f"AUC {auc:.3f}")
    return " · ".join(fields)


def realised_auc(summary: dict[str, Any]) -> float | None:
    """Return the champion's realised ROC AUC, None before it is known."""
    lines = (summary.get("accuracy") or {}).get("lines") or []
    latest: float | None = next((line["latest"] for line in lines if line["role"] == "champion"), None)
    return latest


def address_table(addresses: dict[str, str], title: str) -> Table:
    """Return a table of the addresses, by what each one is."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
    for name, address in addresses.items():
        table.add_row(name, address)
    return table
