"""`ebb up` on a full disk: event time cannot be saved, which is said once and ends nothing."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from ebb.settings import Settings
from ebb_cli.local import event_time
from ebb_cli.local.system import System
from ebb_cli.up import _Run


def test_a_home_that_takes_no_file_is_reported_once_each_time_it_fills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(
        home=tmp_path, day_seconds=20, clock_origin_wall=1_700_000_000, clock_origin_event=1_700_000_000
    )
    said = io.StringIO()
    run = _Run(System(settings, ()), Console(file=said, width=200))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(event_time, "save", full)
        for _ in range(3):
            run.save_time(clean=False)
        assert said.getvalue().count("No space left on device") == 1
    run.save_time(clean=False)
    assert event_time.load(tmp_path) is not None
    monkeypatch.setattr(event_time, "save", full)
    run.save_time(clean=False)
    assert said.getvalue().count("No space left on device") == 2
