"""What the server says and opens: lines that anybody can cause, files that connections take."""

import logging
import resource

import pytest

from serving.server import FewLines, waiting_connections


def test_line_that_anybody_can_cause_is_written_a_few_times_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr("serving.server.time.monotonic", lambda: now)
    few = FewLines(a_minute=3)

    def written(text: str) -> str | None:
        record = logging.LogRecord("uvicorn.error", logging.WARNING, "", 0, text, (), None)
        return record.getMessage() if few.filter(record) else None

    assert [written("bad bytes") for _ in range(6)] == ["bad bytes"] * 3 + [None] * 3
    assert written("another") == "another"
    now += 61
    assert written("bad bytes") == "bad bytes (3 more lines like this were left out)"
    for number in range(3_000):
        written(f"line {number}")
    assert len(few._counts) <= 1_000


def test_waiting_connections_have_a_part_of_the_files_that_the_process_may_open() -> None:
    room = waiting_connections()
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert 0 < room._places_a_network < room._places <= min(4_000, soft // 4)
