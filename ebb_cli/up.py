"""`ebb up`: the whole system on this machine, until Ctrl-C."""

import contextlib
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console

from ebb.errors import SettingsError
from ebb.settings import Settings, read_settings
from ebb_cli.console import console, fetching
from ebb_cli.local import event_time, home, jars
from ebb_cli.local.home import HomeLock
from ebb_cli.local.parts import api_url
from ebb_cli.local.preflight import preflight
from ebb_cli.local.stop_signal import StopSignal
from ebb_cli.local.supervisor import Supervisor
from ebb_cli.local.system import System, logs, plan
from ebb_cli.status import address_table, fetch_summary, line, realised_auc

POLL_SECONDS = 0.2
"""Between two polls of the supervisor."""
STATUS_SECONDS = 2.0
"""Between two requests for the summary."""
STATUS_LINE_SECONDS = 30.0
"""Between two status lines where no terminal redraws one."""


def up(
    *,
    workers: Annotated[int | None, typer.Option(help="Stream workers (EBB_WORKERS).", min=1, max=64)] = None,
    day_seconds: Annotated[
        float | None, typer.Option(help="Real seconds that a day takes (EBB_DAY_SECONDS); 86400 is real time.")
    ] = None,
    simulator: Annotated[bool, typer.Option(help="Send the activity of simulated customers.")] = True,
    customers: Annotated[int | None, typer.Option(help="Simulated customers.", min=1)] = None,
    rate: Annotated[float | None, typer.Option(help="Factor on the simulated customers' activity.", min=0.01)] = None,
    history_days: Annotated[int | None, typer.Option(help="Days simulated before the present one.", min=0)] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the simulated world (EBB_SEED).")] = None,
    shift: Annotated[
        list[str] | None, typer.Option(help="A regime shift of the simulated world; see `ebb simulate --help`.")
    ] = None,
) -> None:
    """Start the whole system on this machine and keep it running until Ctrl-C.

    Kafka and ClickHouse are embedded unless EBB_KAFKA_BOOTSTRAP and EBB_CLICKHOUSE_URL name some. Data, state and logs
    go to EBB_HOME and are loaded again at the next start.

    Raises
    ------
    SetupError
        If the machine lacks something, a port that was asked for is taken, or a part does not start.
    """
    given = {"workers": workers, "day_seconds": day_seconds, "seed": seed}
    settings = _with(read_settings(), {name: value for name, value in given.items() if value is not None})
    arguments = None
    if simulator:
        arguments = [
            text
            for name, value in (
                ("customers", customers),
                ("rate", rate),
                ("history-days", history_days),
                ("seed", seed),
            )
            if value is not None
            for text in (f"--{name}", str(value))
        ] + [text for spec in shift or () for text in ("--shift", spec)]
    screen = console()
    preflight(settings.home)
    with HomeLock(settings.home) as lock:
        with fetching(screen) as progress:
            jars.classpath(settings.lib, progress=progress)
        system = plan(event_time.begin(settings, time.time()), simulator=arguments)
        _Run(system, screen).run(keep_open=lock.fileno())


def _with(settings: Settings, given: dict[str, Any]) -> Settings:
    """Return settings with the options of the command line, which count as explicit and are validated."""
    if not given:
        return settings
    explicit = {name: getattr(settings, name) for name in settings.model_fields_set}
    try:
        return Settings(**explicit | given)
    except ValidationError as error:
        wrong = "; ".join(f"{problem['loc'][0]} {problem['msg']}" for problem in error.errors())
        what = f"The options cannot be used: {wrong}."
        raise SettingsError(what, "See `ebb up --help`.") from None


class _Run:
    """One run of the system, from the first process to the last."""

    def __init__(self, system: System, screen: Console) -> None:
        self.system = system
        self.settings = system.settings
        self.screen = screen
        self.began = time.monotonic()
        self.milestones: set[str] = set()
        self.unsaved = False

    def run(self, *, keep_open: int) -> None:
        """Start the parts, supervise them until a signal, stop them."""
        with StopSignal() as stop:
            supervisor = Supervisor(
                self.system.parts, logs=logs(self.settings), report=self.report, stopping=stop, keep_open=[keep_open]
            )
            try:
                names = ", ".join(part.name for part in self.system.parts)
                with self.screen.status(f"Starting {names} …"):
                    supervisor.start()
                if not stop:
                    self.publish_addresses()
                    self.supervise(supervisor, stop)
            finally:
                self.report("Stopping …")
                home.remove(self.settings.home)
                supervisor.stop()
                self.save_time(clean=True)
            self.report("Stopped. The next start resumes from here; `ebb reset` deletes the data.")

    def report(self, text: str) -> None:
        """Print a line; a closed terminal must not keep the parts from being stopped."""
        with contextlib.suppress(OSError):
            self.screen.print(text, soft_wrap=True)

    def publish_addresses(self) -> None:
        """Print the addresses, and write them to `run.json` for other commands."""
        home.write(self.settings, self.system.addresses)
        base = api_url(self.settings)
        key = '-H "Authorization: Bearer $EBB_API_KEY" ' if self.settings.api_keys else ""
        variable = "" if self.settings.home == Path(".ebb").absolute() else f"EBB_HOME={self.settings.home} "
        with contextlib.suppress(OSError):
            self.screen.print()
            took = time.monotonic() - self.began
            self.screen.print(address_table(self.system.addresses, f"Ebb runs, after {took:.0f} s"))
            self.screen.print("\nTry, in another terminal:")
            self.screen.print(f"  curl -s {key}'{base}/v1/customers/at-risk?page_size=3'")
            self.screen.print(f"  {variable}{_ebb()} watch")
            self.screen.print(f"\nLogs: {logs(self.settings)}. Ctrl-C stops everything.\n")

    def supervise(self, supervisor: Supervisor, stop: StopSignal) -> None:
        """Keep the parts running, save event time, and report progress until the stop signal."""
        saved = checked = printed = 0.0
        with contextlib.ExitStack() as stack:
            status = stack.enter_context(self.screen.status("")) if self.screen.is_terminal else None
            while not stop:
                supervisor.poll()
                now = time.monotonic()
                if now - saved >= 1:
                    self.save_time(clean=False)
                    saved = now
                if now - checked >= STATUS_SECONDS:
                    checked = now
                    if summary := fetch_summary(api_url(self.settings), self.settings):
                        self.report_milestone("The first customers are scored", reached=summary["customers"] > 0)
                        matured = realised_auc(summary) is not None
                        self.report_milestone("Labels have matured; AUC is realised", reached=matured)
                        if status:
                            status.update(line(summary))
                        elif now - printed >= STATUS_LINE_SECONDS:
                            self.report(line(summary))
                            printed = now
                time.sleep(POLL_SECONDS)

    def save_time(self, *, clean: bool) -> None:
        """Save event time; a disk that is full is no reason to stop the parts, which wait until there is space."""
        try:
            event_time.save(self.settings, time.time(), clean=clean)
        except OSError as error:
            if not self.unsaved:
                self.report(f"Event time cannot be saved in {self.settings.home}: {error.strerror}. Free space there.")
            self.unsaved = True
        else:
            self.unsaved = False

    def report_milestone(self, text: str, *, reached: bool) -> None:
        """Report a milestone once, when it is reached."""
        if reached and text not in self.milestones:
            self.milestones.add(text)
            self.report(f"{text} ({time.monotonic() - self.began:.0f} s after the start).")


def _ebb() -> str:
    """Return how to call this command line: by its relative path in a checkout."""
    local = Path(".venv/bin/ebb")
    return str(local) if local.exists() else "ebb"
