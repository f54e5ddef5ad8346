"""`ebb models`: inspect the models, and request a change of the champion."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.table import Table

from clickhouse.store import Store
from ebb.clock import date_of
from ebb.contracts.examples import ChampionRequest
from ebb.contracts.models import FROZEN, ModelSnapshot, Target
from ebb.errors import SourceError
from ebb.settings import Settings, read_settings
from ebb_cli import model_registry as registry
from ebb_cli.console import ANSWER_SECONDS, console
from ebb_cli.local import home
from online_ml.model_card import card as write_card
from online_ml.model_card import number

VERSIONS = 10
PATIENCE_SECONDS = 30.0

models = typer.Typer(no_args_is_help=True, help="Inspect the models, and request a change of the champion.")

Name = Annotated[str, typer.Argument(help="Name of the model, such as churn.logistic.")]
TargetName = Annotated[str, typer.Argument(help="churn or purchase.")]
Version = Annotated[int | None, typer.Option("--version", "-v", help="A published version; the latest if not given.")]
Why = Annotated[str, typer.Option("--why", help="The reason, recorded with the change.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="File to write; the screen if not given.")]


def _settings() -> Settings:
    return home.attach(read_settings())


@models.command("list")
def list_models() -> None:
    """List the latest version of every model, the champions first."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("model", "role", "version", "learned until", "labels", "ROC-AUC", "95 %", "log-loss", "ECE"):
        table.add_column(column, justify="left" if column in {"model", "role"} else "right")
    latest = registry.latest(_settings())
    for model in latest.values():
        metrics = model.metrics
        span = f"{metrics['roc_auc_low']:.3f}-{metrics['roc_auc_high']:.3f}" if "roc_auc_low" in metrics else ""
        table.add_row(
            model.name,
            f"{model.role}, {model.share:.0%}" if model.share else model.role,
            str(model.version),
            str(date_of(model.trained_until)),
            f"{model.examples:,}",
            *(
                number(metrics.get("roc_auc"), 3),
                span,
                number(metrics.get("log_loss"), 4),
                number(metrics.get("ece"), 4),
            ),
            style="bold" if model.role == "champion" else "",
        )
    if latest:
        console().print(table)
    else:
        typer.echo("No model has been published yet: the first labels mature when their horizon has passed.")


@models.command()
def show(name: Name, *, version: Version = None) -> None:
    """Show one model: its configuration, metrics, weights and versions."""
    settings = _settings()
    model = registry.find(settings, name, version)
    screen = console()
    facts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for field, value in {
        "model": f"{model.name} version {model.version} ({model.role})",
        **({"scores": f"{model.share:.0%} of the customers, in place of the champion"} if model.share else {}),
        "learned until": f"{date_of(model.trained_until)}, {model.examples:,} labels",
        "schema": model.schema_hash,
        "checksum": model.checksum,
        **{key.replace("_", " "): str(value) for key, value in model.config.items()},
        **{key: number(value, 4) for key, value in model.metrics.items()},
    }.items():
        facts.add_row(field, value)
    screen.print(facts)
    store = Store(settings, seconds=ANSWER_SECONDS)
    rows = store.query("model_versions", model=name, limit=VERSIONS)
    store.close()
    table = Table(title="Versions", title_justify="left", box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("version", "role", "learned until", "labels", "ROC-AUC", "published"):
        table.add_column(column, justify="right")
    for row in rows:
        area = number(orjson.loads(row["metrics"]).get("roc_auc"), 3)
        cells = (str(row["trained_until"]), f"{row['examples']:,}", area, f"{row['published_at']:%Y-%m-%d %H:%M:%S}")
        table.add_row(str(row["version"]), row["role"], *cells)
    screen.print(table)


@models.command()
def card(name: Name, *, output: Output = None) -> None:
    """Write the model card: what the model is, and how far to trust it for which customers, from measurements."""
    settings = _settings()
    store = Store(settings, seconds=ANSWER_SECONDS)
    text = write_card(registry.find(settings, name), list(registry.latest(settings).values()), store.query)
    store.close()
    _write(text.encode(), output)


@models.command()
def export(name: Name, *, version: Version = None, output: Output = None) -> None:
    """Write a version as JSON, with its checksum; loading it executes no code."""
    _write(registry.find(_settings(), name, version).encode(), output)


@models.command()
def history(target: TargetName, *, limit: Annotated[int, typer.Option(min=1)] = 20) -> None:
    """List the changes of a target's champion, with their causes."""
    store = Store(_settings(), seconds=ANSWER_SECONDS)
    rows = store.query("promotions", target=registry.parse_target(target), limit=limit)
    store.close()
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("day", "cause", "from", "to", "version", "outcome", "why"):
        table.add_column(column, overflow="fold")
    for row in rows:
        change = (row["former"] or "cold start", row["champion"], str(row["version"]))
        table.add_row(str(row["decided_day"]), row["cause"], *change, row["outcome"], row["why"])
    console().print(table if rows else f"The champion of {target} has not changed yet.")


@models.command()
def promote(name: Name, *, version: Version = None, why: Why = "") -> None:
    """Request that a model serve from now on, in spite of the promotion rule; a given version serves frozen."""
    settings = _settings()
    _hold(settings, registry.find(settings, name, version), frozen=version is not None, why=why)


@models.command()
def rollback(
    target: TargetName,
    *,
    to_version: Annotated[
        int | None, typer.Option("--to-version", help="Freeze this version of the candidate that serves.")
    ] = None,
    why: Why = "",
) -> None:
    """Request the former champion again, or an earlier version of the present one."""
    settings = _settings()
    parsed = registry.parse_target(target)
    if to_version is not None:
        model = registry.find(settings, f"{parsed}.{_serving(settings, parsed)}", to_version)
        _hold(settings, model, frozen=True, why=why)
        return
    store = Store(settings, seconds=ANSWER_SECONDS)
    rows = store.query("promotions", target=parsed, limit=50)
    store.close()
    former = next((row["former"] for row in rows if row["outcome"] == "done" and row["former"] != row["champion"]), "")
    if former in {"", FROZEN}:
        what = f"No candidate served {parsed} before the present one."
        raise SourceError(what, "Name a version by --to-version; `ebb models show` lists them.")
    _hold(settings, registry.find(settings, f"{parsed}.{former}"), frozen=False, why=why)


@models.command()
def release(target: TargetName, *, why: Why = "") -> None:
    """Request that the promotion rule choose the champion again."""
    parsed = registry.parse_target(target)
    _ask(_settings(), ChampionRequest(target=parsed, action="release", why=why, asked_at=datetime.now(UTC)))


@models.command()
def split(
    target: TargetName,
    *,
    challenger: Annotated[str, typer.Option("--challenger", help="Candidate that scores a share, such as adam.")] = "",
    share: Annotated[float, typer.Option("--share", help="Share of the customers, above 0 and below 1.")] = 0.1,
    off: Annotated[bool, typer.Option("--off", help="End the split.")] = False,
    why: Why = "",
) -> None:
    """Request that a challenger score a fixed share of the customers, chosen by hash, or end such a split."""
    parsed, now = registry.parse_target(target), datetime.now(UTC)
    if off == bool(challenger):
        what = "A split needs a challenger, and --off takes none."
        raise SourceError(what, f"`ebb models split {target} --challenger NAME --share 0.1`, later `--off`.")
    if off:
        _ask(_settings(), ChampionRequest(target=parsed, action="unsplit", why=why, asked_at=now))
        return
    if not 0 < share < 1:
        what = f"A share of {share:g} of the customers is no split."
        raise SourceError(what, "Give one above 0 and below 1; `ebb models promote` gives a model all customers.")
    name = challenger.removeprefix(f"{parsed}.")
    request = ChampionRequest(target=parsed, action="split", candidate=name, share=share, why=why, asked_at=now)
    _ask(_settings(), request)


def _serving(settings: Settings, target: Target) -> str:
    """Return the candidate of the model that serves a target."""
    for model in registry.latest(settings).values():
        if model.target == target and model.role == "champion":
            return model.candidate
    what = f"Nothing that was learned serves {target} yet."
    raise SourceError(what, "Wait for the first labels to mature.")


def _hold(settings: Settings, model: ModelSnapshot, *, frozen: bool, why: str) -> None:
    chosen: dict[str, Any] = {"snapshot": model} if frozen else {"candidate": model.candidate}
    request = ChampionRequest(target=model.target, action="hold", why=why, asked_at=datetime.now(UTC), **chosen)
    _ask(settings, request)


def _ask(settings: Settings, request: ChampionRequest) -> None:
    decided = registry.ask(settings, request, patience=PATIENCE_SECONDS)
    if decided is None:
        typer.echo(
            f"The request was sent, but not decided within {PATIENCE_SECONDS:.0f} s; see `ebb models history` later."
        )
    elif decided["outcome"] == "refused":
        what = f"The learner refused: {decided['why']}."
        raise SourceError(what)
    elif request.action == "release":
        typer.echo(f"The rule decides again; {decided['champion'] or 'the cold start'} serves {request.target}.")
    elif request.action == "unsplit":
        typer.echo(f"{decided['champion'] or 'the cold start'} scores all customers again for {request.target}.")
    elif request.share is not None:
        typer.echo(
            f"{request.candidate} scores {request.share:.0%} of the customers for {request.target}, "
            f"{decided['champion'] or 'the cold start'} the others. "
            f"`ebb models show {request.target}.{request.candidate}` shows the metrics of both (arm_…), once labels "
            f"mature; `ebb models split {request.target} --off` ends it."
        )
    else:
        typer.echo(
            f"{decided['champion']} serves {request.target}, by request, in the place of "
            f"{decided['former'] or 'the cold start'}. `ebb models release {request.target}` undoes it."
        )


def _write(body: bytes, output: Path | None) -> None:
    if output is None:
        typer.echo(body.decode())
    else:
        output.write_bytes(body)
        typer.echo(f"Written to {output}.")
