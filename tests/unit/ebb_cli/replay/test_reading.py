"""What `ebb replay` says of files that it cannot read, as its user meets it; no service is started for that."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ebb.errors import SettingsError
from ebb_cli import main
from ebb_cli.replay.reading import read_options
from producers.replay.log import ReadOptions

Run = Callable[..., tuple[int | str | None, str]]
LOG = "customer_id;occurred_at;type;amount\n1;03/04/2024 10:00;view;49,90\n"


@pytest.fixture
def ebb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `ebb replay` in a folder of the test's own; returns its code and what it printed as an error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EBB_HOME", str(tmp_path / "home"))

    def run(*arguments: str) -> tuple[int | str | None, str]:
        monkeypatch.setattr("sys.argv", ["ebb", "replay", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, " ".join(capsys.readouterr().err.split())

    return run


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (LOG, ["--zone", "UTC"], "log.csv, line 2, column occurred_at: '03/04/2024 10:00' is 3 April 2024 (dmy)"),
        (LOG.replace("customer_id", "user"), [], "No column is mapped to customer_id; the columns are user, "),
        (LOG, ["--map", "amount=paid"], "log.csv has no column paid; its columns are customer_id, occurred_at, "),
        (LOG + '2;2024-04-04;"view;1\n', [], "Line 3 of log.csv opens a quote in column 3 that is never closed. Close"),
        ("", [], "log.csv is empty."),
        ("\0\0\0", [], "log.csv is not text: it holds zero bytes."),
        (LOG, ["--encoding", "klingon"], "There is no encoding 'klingon'."),
        (LOG, ["--delimiter", "ab"], "--delimiter 'ab' is not a character that can stand between fields."),
        (LOG, ["--dates", "usa"], "--dates 'usa' is not dmy, mdy or ymd."),
        (LOG, ["--decimal", "x"], "--decimal 'x' is not point or comma."),
        (LOG, ["--time-unit", "days"], "--time-unit 'days' is not s, ms, us, ns or excel"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_one_message(
    ebb: Run, tmp_path: Path, content: str, arguments: list[str], message: str
) -> None:
    (tmp_path / "log.csv").write_text(content)
    code, said = ebb("log.csv", *arguments)
    assert code == 1
    assert message in said
    assert "Traceback" not in said


def test_options_are_named_in_words() -> None:
    assert read_options("semicolon", "utf-16", "comma", dates="DMY", unit="ms", time_format="%Y") == ReadOptions(
        delimiter=";", encoding="utf-16", decimal=",", dates="dmy", unit="ms", time_format="%Y"
    )
    assert read_options("\\t").delimiter == read_options("tab").delimiter == "\t"
    assert read_options() == ReadOptions()
    for wrong in ('"', "", "a", "\n"):
        with pytest.raises(SettingsError, match="--delimiter"):
            read_options(wrong)
