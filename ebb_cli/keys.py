"""`ebb keys`: create, list and revoke API keys. Every API process follows the topic `ebb.keys`."""

import contextlib
import getpass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.table import Table

from clickhouse.audit import AuditEntry, record_audit
from ebb.contracts.api_keys import KeyRecord, Scope, make_key
from ebb.errors import EbbError, SettingsError
from ebb.kafka.admin import create_topics
from ebb.kafka.producer import Publisher
from ebb.kafka.reader import read_to_end
from ebb.settings import Settings, read_settings
from ebb_cli.console import ANSWER_SECONDS, console
from ebb_cli.local import home

keys = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys.")


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for; shown in lists and in the audit log.")],
    scope: Annotated[
        list[Scope],
        typer.Option(
            help="What it permits: read, act (handling alerts, and read), write (the collector), admin. Repeat the "
            "option for more."
        ),
    ],
    days: Annotated[float | None, typer.Option(help="Days until it expires; never, if not given.", min=0)] = None,
) -> None:
    """Create a key and print it once; only its hash is stored."""
    settings = _settings()
    expires = None if days is None else datetime.now(UTC) + timedelta(days=days)
    record, key = make_key(name, scope, expires)
    _publish(settings, record)
    _audit(settings, "key.create", record, {"name": name, "scopes": sorted(record.scopes)})
    screen = console()
    until = f", until {expires:%Y-%m-%d %H:%M} UTC" if expires else ""
    screen.print(f"Key {record.id} ({name}) permits {', '.join(record.scopes)}{until}. It is shown this once:")
    typer.echo(key)
    if not (settings.api_keys or settings.require_key):
        screen.print("The API asks for keys only with EBB_REQUIRE_KEY=true or EBB_API_KEYS set.", style="yellow")


@keys.command("list")
def list_keys() -> None:
    """List the keys, newest first."""
    table = Table(box=None, padding=(0, 2))
    for column in ("id", "name", "scopes", "created", "expires", "state"):
        table.add_column(column)
    now = datetime.now(UTC)
    for record in sorted(_read(_settings()).values(), key=lambda record: record.created_at, reverse=True):
        expires = f"{record.expires_at:%Y-%m-%d %H:%M}" if record.expires_at else "never"
        created, state = f"{record.created_at:%Y-%m-%d %H:%M}", record.ended(now) or "in use"
        table.add_row(record.id, record.name, ", ".join(record.scopes), created, expires, state)
    console().print(table)


@keys.command()
def revoke(
    identity: Annotated[str, typer.Argument(metavar="ID", help="The id of the key; `ebb keys list` shows it.")],
) -> None:
    """Revoke a key: requests with it are refused and its streams are closed.

    Raises
    ------
    SettingsError
        If there is no such key.
    """
    settings = _settings()
    record = _read(settings).get(identity)
    if record is None:
        what = f"There is no key with the id {identity[:40]!r}."
        raise SettingsError(what, "`ebb keys list` lists them; to revoke one of EBB_API_KEYS, remove it there.")
    if record.revoked_at is None:
        record = record.model_copy(update={"revoked_at": datetime.now(UTC)})
        _publish(settings, record)
        _audit(settings, "key.revoke", record, {"name": record.name})
    console().print(f"Key {record.id} ({record.name}) is revoked.")


def _settings() -> Settings:
    return home.attach(read_settings())


def _read(settings: Settings) -> dict[str, KeyRecord]:
    create_topics(settings, patience=ANSWER_SECONDS)
    records: dict[str, KeyRecord] = {}
    topic = settings.topics.keys
    for message in read_to_end(settings, topic, [0], timeout=ANSWER_SECONDS, silence=ANSWER_SECONDS):
        if (body := message.value()) is not None:
            with contextlib.suppress(ValidationError):  # it grants nothing, and the API logs it
                record = KeyRecord.model_validate_json(body)
                records[record.id] = record
    return records


def _publish(settings: Settings, record: KeyRecord) -> None:
    create_topics(settings, patience=ANSWER_SECONDS)
    publisher = Publisher(settings)
    publisher.send(settings.topics.keys, key=record.id, value=record.model_dump_json().encode(), partition=0)
    publisher.flush(ANSWER_SECONDS)


def _audit(settings: Settings, action: str, record: KeyRecord, details: dict[str, object]) -> None:
    """Write to the audit log; a failure is only printed, so that keys can be revoked while ClickHouse is down."""
    try:
        record_audit(
            settings, AuditEntry(actor=f"cli:{getpass.getuser()}", action=action, subject=record.id, details=details)
        )
    except EbbError as error:
        console().print(f"The audit log could not be written: {error}", style="yellow")
