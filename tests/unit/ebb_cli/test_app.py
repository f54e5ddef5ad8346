"""The command line around its commands: quick to answer, plain about errors, careful with data."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest
from rich.table import Table

from ebb_cli import main
from ebb_cli.app import COMMANDS
from ebb_cli.console import console
from ebb_cli.local.home import HomeLock
from ebb_cli.status import line, realised_auc


class Ran(NamedTuple):
    """What a command left behind."""

    returncode: int | str | None
    stdout: str
    stderr: str


class Ebb(Protocol):
    """Runs `ebb` on a home."""

    def __call__(self, *arguments: str, answer: str = "", **variables: str) -> Ran: ...


@pytest.fixture
def ebb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ebb:
    """Run the command line in this process, on a home of the test's own."""

    def run(*arguments: str, answer: str = "", **variables: str) -> Ran:
        for name, value in {"EBB_HOME": str(tmp_path), "COLUMNS": "200", **variables}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("sys.argv", ["ebb", *arguments])
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return Ran(end.value.code, captured.out, captured.err)

    return run


def test_help_names_every_command(ebb: Ebb) -> None:
    run = ebb("--help")
    assert run.returncode == 0
    for name, command in COMMANDS.items():
        assert name in run.stdout
        assert command.summary in run.stdout


TEXT = "[/y] [red]x[/red] :smile: 100% [link=https://a.example]"
"""What people may call a key, a file or a customer."""


def test_text_from_people_is_never_markup(capsys: pytest.CaptureFixture[str]) -> None:
    screen, table = console(), Table(title=TEXT, box=None)
    table.add_column(TEXT)
    table.add_row(TEXT)
    screen.print(TEXT, style="yellow")
    screen.print(table)
    assert capsys.readouterr().out.count(TEXT) == 4


def test_a_file_may_be_called_anything(ebb: Ebb) -> None:
    run = ebb("replay", "[/x].csv", COLUMNS="200")
    assert run.returncode == 1
    assert "[/x].csv" in run.stderr
    assert "Traceback" not in run.stderr


def test_help_imports_no_part_of_the_system() -> None:
    code = (
        "import sys; from ebb_cli.app import build; build(['--help'])\n"
        "print([name for name in ('confluent_kafka', 'pyarrow', 'numpy', 'pydantic', 'faust') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_without_the_words_for_developers(ebb: Ebb, name: str, tmp_path: Path) -> None:
    run = ebb(name, "--help")
    assert run.returncode == 0, run.stderr
    assert f"ebb {name}" in run.stdout
    assert "Raises" not in run.stdout
    assert not list(tmp_path.iterdir())


def test_an_unknown_command_is_refused(ebb: Ebb) -> None:
    run = ebb("fly")
    assert run.returncode == 2
    assert "fly" in run.stderr


def test_the_version_is_printed(ebb: Ebb) -> None:
    assert ebb("--version").stdout.startswith("ebb 0.")


def test_a_wrong_setting_is_one_message_with_its_name_and_no_traceback(ebb: Ebb) -> None:
    run = ebb("up", EBB_API_PORT="eighty")
    assert run.returncode == 1
    assert "EBB_API_PORT" in run.stderr
    assert "'eighty'" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_wrong_option_names_the_setting(ebb: Ebb) -> None:
    run = ebb("up", "--day-seconds", "-1")
    assert run.returncode == 1
    assert "day_seconds" in run.stderr
    assert "greater than 0" in run.stderr


@pytest.mark.parametrize("command", ["status", "watch"])
def test_commands_that_join_a_system_say_how_to_start_one(ebb: Ebb, command: str) -> None:
    run = ebb(command, EBB_API_PORT="9")
    assert run.returncode == 1
    assert "Start Ebb by `make demo` or `ebb up`" in run.stderr


def _used(home: Path) -> None:
    (home / "lib").mkdir(parents=True)
    (home / "lib" / "kafka.jar").write_text("fetched")
    (home / "kafka" / "data").mkdir(parents=True)
    (home / "kafka" / "data" / "log").write_text("events")
    (home / "clock.json").write_text("{}")


def test_reset_empties_the_home_and_keeps_downloads(ebb: Ebb, tmp_path: Path) -> None:
    _used(tmp_path)
    run = ebb("reset", "--yes", EBB_LIB=str(tmp_path / "lib"))
    assert run.returncode == 0, run.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lib", "lock"]
    assert (tmp_path / "lib" / "kafka.jar").read_text() == "fetched"
    assert "empty already" in ebb("reset", EBB_LIB=str(tmp_path / "lib")).stdout


def test_reset_asks_first_and_deletes_nothing_on_no(ebb: Ebb, tmp_path: Path) -> None:
    _used(tmp_path)
    run = ebb("reset", answer="n\n", EBB_LIB=str(tmp_path / "lib"))
    assert run.returncode == 1
    assert "Delete clock.json, kafka in" in run.stdout
    assert (tmp_path / "kafka" / "data" / "log").exists()
    run = ebb("reset", answer="y\n", EBB_LIB=str(tmp_path / "lib"))
    assert run.returncode == 0
    assert not (tmp_path / "kafka").exists()


def test_reset_is_refused_while_ebb_runs(ebb: Ebb, tmp_path: Path) -> None:
    _used(tmp_path)
    with HomeLock(tmp_path):
        run = ebb("reset", "--yes", EBB_LIB=str(tmp_path / "lib"))
    assert run.returncode == 1
    assert f"already running on {tmp_path} (process {os.getpid()})" in run.stderr
    assert (tmp_path / "kafka" / "data" / "log").exists()


def test_reset_deletes_a_link_and_not_what_it_points_to(ebb: Ebb, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("kept")
    home = tmp_path / "home"
    home.mkdir()
    (home / "kafka").symlink_to(elsewhere)
    assert ebb("reset", "--yes", EBB_HOME=str(home)).returncode == 0
    assert not (home / "kafka").exists()
    assert (elsewhere / "precious").read_text() == "kept"


def test_the_status_line_shows_what_is_known_and_no_more() -> None:
    bare = {"event_time": "2026-03-01T05:00:00Z", "customers": 1200, "bands": [], "labels": {"matured": 0}}
    assert line(bare) == "2026-03-01 05:00 · 1,200 customers scored · no label matured yet"
    full = bare | {
        "bands": [{"band": "critical", "customers": 12}, {"band": "high", "customers": 34}],
        "pipeline": {"events_per_second": 1234.4, "lag_events": 56},
        "labels": {"matured": 7890},
        "accuracy": {"lines": [{"role": "baseline", "latest": 0.6}, {"role": "champion", "latest": 0.8125}]},
    }
    text = line(full)
    assert "12 critical, 34 high · 1,234 events/s, lag 56 · 7,890 labels matured · AUC 0.812" in text


def test_no_accuracy_is_shown_before_there_is_a_champion_with_labels() -> None:
    assert realised_auc({}) is None
    assert realised_auc({"accuracy": None}) is None
    assert realised_auc({"accuracy": {"lines": [{"role": "baseline", "latest": 0.6}]}}) is None
