"""`ebb replay`: sends a recorded log through the whole system, in a separate namespace, and reports the metrics."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from clickhouse.client import connect
from ebb.errors import SettingsError, SourceError
from ebb.settings import Settings, read_settings
from ebb_cli.console import console
from ebb_cli.local import home, parts
from ebb_cli.local.stop_signal import StopSignal
from ebb_cli.local.supervisor import Supervisor
from ebb_cli.local.system import REACHED_BY, logs, services
from ebb_cli.replay import reading
from ebb_cli.replay import report as replay_report
from ebb_cli.replay.namespace import namespace_of, prepare, replay_settings
from ebb_cli.replay.pace import LearnerGate, Pace
from ebb_cli.replay.progress import ReplayProgress, wait
from producers.activity_producer import ActivityProducer
from producers.replay.log import ReadOptions
from producers.replay.presets import PRESETS, Preset, mapping_of, preset_named
from producers.replay.rows import Rows, columns_of, complete_mapping
from producers.replay.sender import ReplayTally
from producers.replay.sender import replay as send_log
from producers.replay.sources import open_log
from producers.replay.times import zone_named


def replay(
    file: Annotated[Path, typer.Argument(help="A log: CSV, JSON lines or Parquet; text also as .gz, .zst, .bz2, .xz.")],
    *,
    preset: Annotated[str | None, typer.Option(help=f"A log that Ebb knows: {', '.join(PRESETS)}.")] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FIELD=COLUMN", help="Which column is which field; FIELD==TEXT is a constant."),
    ] = None,
    pace: Annotated[
        Pace, typer.Option(help="Wait for the learner at each boundary, as time would; none: for throughput.")
    ] = Pace.LEARNER,
    speed: Annotated[str, typer.Option(help="Times faster than it happened, or max.")] = "max",
    zone: Annotated[str | None, typer.Option(help="Time zone of times that state none, e.g. UTC.")] = None,
    time_format: Annotated[str | None, typer.Option(help="How times are written, as strptime reads; ISO 8601.")] = None,
    delimiter: reading.Delimiter = None,
    encoding: reading.Encoding = None,
    decimal: reading.Decimal = None,
    dates: reading.Dates = None,
    time_unit: reading.Unit = None,
    namespace: Annotated[str | None, typer.Option(help="Namespace of the log; named after it by default.")] = None,
    fresh: Annotated[bool, typer.Option(help="Delete the data of an earlier replay in the namespace first.")] = False,
    horizon_days: Annotated[int | None, typer.Option(help="Days of silence that count as churn.", min=1)] = None,
    lookback_days: Annotated[
        int | None, typer.Option(help="Days since the last event after which a customer no longer counts.", min=1)
    ] = None,
    partitions: Annotated[int | None, typer.Option(help="Partitions of its topics.", min=1)] = None,
    report: Annotated[Path | None, typer.Option(help="Write the figures to this file, as JSON.")] = None,
) -> None:
    """Send a recorded log through the system and print the results.

    Uses the Kafka and ClickHouse of a running `ebb up`, or starts its own until it is done. The log gets topics,
    database, state, worker and learner of its own, and is processed in event-time order; exactly the labels that can
    mature by its end do. Each boundary's champion is in use before the events that follow it, so that what was served
    is what a live system would have served; `--pace none` does not wait, and serves whatever model there is by then.

    Raises
    ------
    SourceError
        If the log cannot be read or mapped.
    SetupError
        If the namespace is in use and --fresh is not given.
    UnavailableError
        If a service or a part does not answer.
    """
    known = preset_named(preset)
    settings = read_settings()
    screen = console()
    times_faster = _pace(speed)
    options = reading.read_options(delimiter, encoding, decimal, dates=dates, unit=time_unit, time_format=time_format)
    base = home.attach(settings)
    space = replay_settings(
        base,
        known,
        namespace or namespace_of(file, preset),
        horizon_days=horizon_days,
        lookback_days=lookback_days,
        partitions=partitions,
        paced=pace is Pace.LEARNER,
    )
    with screen.status(Text(f"Reading {file.name} …")):
        rows = _read(file, known, mapping or [], zone=zone, options=options, space=space)
    screen.print(Text(f"{file.name}: {', '.join(rows.words)}; {len(rows):,} rows."))
    with StopSignal() as stop, ExitStack() as stack:
        if home.read(settings.home) is None:
            screen.print("Starting Kafka and ClickHouse for this replay …")
            running = stack.enter_context(services(settings, report=screen.print))
            space = space.model_copy(update={name: getattr(running, name) for name in REACHED_BY})
        prepare(space, fresh=fresh)
        supervisor = Supervisor(
            [parts.worker(space), parts.learner(space)],
            logs=logs(space) / f"replay-{space.namespace}",
            report=screen.print,
            stopping=stop,
        )
        stack.enter_context(supervisor)
        began = time.monotonic()
        tally = _send(rows, space, name=file.name, speed=times_faster, screen=screen, supervisor=supervisor, stop=stop)
        if tally.final_boundary is None:
            what = f"No row of {file.name} could be accepted: {_refusals(tally)}."
            raise SourceError(what, "Look at the mapping (--map) and at how values are written (--zone, --dates, …).")
        if tally.stopped or not _wait(space, tally, screen, supervisor, stop):
            screen.print("Stopped before the end; the namespace keeps what was sent.")
            raise typer.Exit(130)
        took = time.monotonic() - began
        screen.print(f"{tally.accepted:,} events processed in {took:.1f} s.")
        _report(space, tally, known, screen, report, seconds=took)


def _refusals(tally: ReplayTally) -> str:
    """Return why rows were refused: how many for each reason, and the first of them."""
    return "; ".join(f"{count:,} {reason} ({tally.examples[reason]})" for reason, count in tally.refused.most_common())


def _pace(speed: str) -> float | None:
    if speed == "max":
        return None
    try:
        pace = float(speed)
    except ValueError:
        pace = 0.0
    if not 0 < pace < float("inf"):
        what = f"--speed {speed} is neither a number above 0 nor max."
        raise SettingsError(what, "For example --speed 86400: a day of the log in a second.")
    return pace


def _read(
    file: Path, preset: Preset, pairs: list[str], *, zone: str | None, options: ReadOptions, space: Settings
) -> Rows:
    source = open_log(file, options)
    mapping = complete_mapping(mapping_of(preset, pairs), source.names)
    return Rows(
        source.read(columns_of(mapping)),
        mapping,
        zone=zone_named(zone or preset.zone),
        options=options,
        latest=time.time() + space.future_tolerance_seconds,
        max_bytes=space.max_event_bytes,
        nobody=space.nobody,
    )


@contextmanager
def _bar(screen: Console, what: str, total: int | None) -> Iterator[tuple[Progress, TaskID]]:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=screen, disable=not screen.is_terminal) as bar:
        yield bar, bar.add_task(what, total=total)


def _send(
    rows: Rows,
    space: Settings,
    *,
    name: str,
    speed: float | None,
    screen: Console,
    supervisor: Supervisor,
    stop: StopSignal,
) -> ReplayTally:
    with (
        ActivityProducer(space, source="replay", linger_ms=20) as producer,
        LearnerGate(space, poll=supervisor.poll, stopping=stop) if space.paced else nullcontext() as gate,
        _bar(screen, name, len(rows)) as (bar, task),
    ):

        def progress(done: int) -> None:
            bar.advance(task, done)
            supervisor.poll()

        return send_log(rows, producer, name=name, speed=speed, gate=gate, progress=progress, stopping=stop)


def _wait(space: Settings, tally: ReplayTally, screen: Console, supervisor: Supervisor, stop: StopSignal) -> bool:
    client = connect(space)

    def scored() -> bool:
        counts = replay_report.count(client)
        return counts.scored >= len(tally.customers) and counts.events >= tally.accepted

    try:
        with _bar(screen, "Processing and learning", None) as (bar, task):
            most = 0

            def show(now: ReplayProgress) -> None:
                nonlocal most
                left = now.events_left + now.blocks_left
                most = max(most, left)
                bar.update(task, total=most, completed=most - left)

            return wait(
                space,
                tally.final_boundary or 0,
                poll=supervisor.poll,
                stopping=stop,
                scored=scored,
                report=show,
            )
    finally:
        client.close()


def _report(
    space: Settings, tally: ReplayTally, preset: Preset, screen: Console, file: Path | None, *, seconds: float
) -> None:
    client = connect(space)
    try:
        counts = replay_report.count(client)
        cut = replay_report.first_test_day(tally)
        qualities = replay_report.measure_candidates(client, cut)
        comparisons = replay_report.compare_served(client, cut)
    finally:
        client.close()
    replay_report.show(
        screen,
        tally=tally,
        counts=counts,
        qualities=qualities,
        comparisons=comparisons,
        preset=preset,
        space=space,
    )
    if file is not None:
        figures = replay_report.as_json(tally, counts, qualities, comparisons, space, seconds=seconds)
        file.write_text(json.dumps(figures, indent=2), encoding="utf-8")
