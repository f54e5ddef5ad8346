"""Recorded logs in every format give the same columns."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ebb.errors import SourceError
from producers.replay.sources import read_log


def test_parquet_keeps_types_and_reads_only_the_requested_columns(tmp_path: Path) -> None:
    at = datetime(2020, 1, 1, tzinfo=UTC)
    table = pa.table({"who": ["a", "b"], "at": pa.array([at, at], pa.timestamp("us", "UTC")), "much": [1.5, None]})
    pq.write_table(table, tmp_path / "log.parquet")
    log = read_log(tmp_path / "log.parquet", ["who", "at"])
    assert log.columns == {"who": ["a", "b"], "at": [at, at]}
    assert list(read_log(tmp_path / "log.parquet").columns) == ["who", "at", "much"]
    assert orjson.loads(log.raw(1)) == {"who": "b", "at": "2020-01-01T00:00:00+00:00"}


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_csv_is_text_with_its_odd_rows_kept_aside_and_numbered(tmp_path: Path, name: str) -> None:
    text = b'who,"what, then",n\na,"say ""x"", y",1\nb,too,2,many\nfew\nc,,007\n'
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    log = read_log(tmp_path / name)
    assert log.columns == {"who": ["a", "c"], "what, then": ['say "x", y', None], "n": ["1", "007"]}
    assert log.rows == [0, 3]
    assert [(refusal.row, refusal.reason, refusal.body) for refusal in log.broken] == [
        (1, "wrong_columns", b"b,too,2,many"),
        (2, "wrong_columns", b"few"),
    ]


def test_tsv_is_split_at_tabs(tmp_path: Path) -> None:
    (tmp_path / "log.tsv").write_bytes(b"who\twhat\na\tx,y\n")
    assert read_log(tmp_path / "log.tsv", ["what"]).columns == {"what": ["x,y"]}


@pytest.mark.parametrize("name", ["log.jsonl", "log.ndjson.gz"])
def test_json_lines_keep_types_and_broken_lines_aside(tmp_path: Path, name: str) -> None:
    text = b'{"who": "a", "n": 1}\n\n{"who": \n[1]\n{"who": "b", "more": {"x": [2]}}\n'
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    log = read_log(tmp_path / name)
    assert log.columns == {"who": ["a", "b"], "n": [1, None], "more": [None, {"x": [2]}]}
    assert log.rows == [0, 3]
    assert [(refusal.row, refusal.reason) for refusal in log.broken] == [(1, "bad_json"), (2, "wrong_type")]


def test_a_missing_column_is_named_with_the_existing_ones(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes(b"who,what\na,b\n")
    with pytest.raises(SourceError, match=r"no column when; its columns are who, what.*--map"):
        read_log(tmp_path / "log.csv", ["who", "when"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("log.xlsx", b"", "does not read"),
        ("log.parquet", b"nothing", "cannot be read as parquet"),
        ("log.csv.gz", b"nothing", "cannot be read as csv"),
    ],
)
def test_an_unreadable_file_is_reported(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message):
        read_log(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="There is no file"):
        read_log(tmp_path / "log.csv")
