"""`ebb webhooks`: the receivers of alerts in EBB_WEBHOOKS: list them, make a secret, try one."""

import secrets
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.table import Table

from ebb.contracts.webhooks import headers, make_secret, message
from ebb.errors import SettingsError, UnavailableError
from ebb.settings import read_settings
from ebb_cli.console import console
from ebb_cli.local import home
from serving.background.webhook_client import NotDeliveredError, WebhookClient

webhooks = typer.Typer(no_args_is_help=True, help="List, try and sign for the receivers of alerts in EBB_WEBHOOKS.")


@webhooks.command("list")
def list_webhooks() -> None:
    """List the receivers, without what is secret of them."""
    table = Table(box=None, padding=(0, 2))
    for column in ("name", "kind", "host", "bands"):
        table.add_column(column)
    for one in read_settings().webhooks:
        table.add_row(one.name, one.kind, urlsplit(one.url).hostname, ", ".join(one.bands))
    console().print(table)


@webhooks.command()
def secret() -> None:
    """Make a secret to sign with."""
    typer.echo(make_secret())


@webhooks.command("test")
def try_one(name: Annotated[str, typer.Argument(help="Name of the receiver.")]) -> None:
    """Send a made-up alert to a receiver, once, and say what it answers.

    Raises
    ------
    SettingsError
        If there is no such receiver.
    UnavailableError
        If it does not take the alert.
    """
    settings = home.attach(read_settings())
    webhook = next((one for one in settings.webhooks if one.name == name), None)
    if webhook is None:
        what = f"EBB_WEBHOOKS has no receiver {name[:40]!r}."
        raise SettingsError(what, "`ebb webhooks list` lists them.")
    now = datetime.now(UTC).isoformat()
    alert = {
        "alert_id": f"test-{secrets.token_hex(8)}",
        "kind": "band",
        "customer_id": "test",
        "band": webhook.bands[0],
        "previous_band": None,
        "churn": 0.9,
        "previous": None,
        "why": "This is a test, asked for by `ebb webhooks test`.",
        "value_at_risk": 0.0,
        "country": None,
        "channel": None,
        "as_of": now,
        "raised_at": now,
    }
    body = message(webhook, alert)
    client = WebhookClient(private=settings.webhook_private)
    try:
        client.post(webhook.url, headers(webhook, str(alert["alert_id"]), body), body)
    except NotDeliveredError as error:
        what = f"{name} has not taken the alert. {error.what}"
        raise UnavailableError(what, "Correct its entry in EBB_WEBHOOKS, or the receiver.") from None
    finally:
        client.close()
    console().print(f"{name} has taken the alert.")
