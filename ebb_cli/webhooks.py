"""`ebb webhooks`: list and test the receivers of alerts in EBB_WEBHOOKS, create signing secrets."""

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

webhooks = typer.Typer(
    no_args_is_help=True, help="List and test receivers of alerts (EBB_WEBHOOKS), create signing secrets."
)


@webhooks.command("list")
def list_webhooks() -> None:
    """List the receivers, without their secrets."""
    table = Table(box=None, padding=(0, 2))
    for column in ("name", "kind", "host", "bands"):
        table.add_column(column)
    for webhook in read_settings().webhooks:
        table.add_row(webhook.name, webhook.kind, urlsplit(webhook.url).hostname, ", ".join(webhook.bands))
    console().print(table)


@webhooks.command()
def secret() -> None:
    """Create and print a signing secret."""
    typer.echo(make_secret())


@webhooks.command("test")
def send_test(name: Annotated[str, typer.Argument(help="Name of the receiver.")]) -> None:
    """Send a test alert to a receiver, once, and report whether it was accepted.

    Raises
    ------
    SettingsError
        If there is no such receiver.
    UnavailableError
        If it does not accept the alert.
    """
    settings = home.attach(read_settings())
    webhook = next((webhook for webhook in settings.webhooks if webhook.name == name), None)
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
        "why": "This is a test, sent by `ebb webhooks test`.",
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
        what = f"{name} did not accept the alert. {error.what}"
        raise UnavailableError(what, "Correct its entry in EBB_WEBHOOKS, or the receiver.") from None
    finally:
        client.close()
    console().print(f"{name} accepted the alert.")
