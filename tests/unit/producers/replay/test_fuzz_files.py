"""Whatever bytes a file holds, it is read or refused in plain words; nothing else is ever raised."""

import bz2
import csv
import gzip
import io
from datetime import UTC
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ebb.errors import SourceError
from producers.replay import delimited
from producers.replay.log import ReadOptions
from producers.replay.presets import GENERIC, mapping_of
from producers.replay.rows import Row, Rows, columns_of, complete_mapping
from producers.replay.sources import open_log

PAIRS = ["customer_id=a", "occurred_at=b", "type==view", "amount=c", "more=d.e"]
ODD = [
    "", "a,b,c,d.e\n", "a;b;c;d.e\r\n", "1,2026-01-02,3,4\n", '"', '""', "\n", "\r", ",", ";", "\t", "|", "NULL", "\0",
    "\x1b[2J", "\ufeff", "sep=;\n", "03/04/2026", "31.12.2026", "1.249,50", "1,249", "49,90", "1_000", "45383.5",
    "20260101", "9" * 40, '{"a": 1, "b": "2026-01-02", "c": 3, "d": {"e": 4}}\n', '{"a": "\\ud800"}\n', "[" * 2_000,
    '{"a": NaN}', "Infinity", "0000-00-00 00:00:00", "99/99/9999", "0/0/0000", "2026-02-30", "-1", "1e400", "\u2028",
    "\x85", "\u00e9",
]  # fmt: skip
CODECS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "cp1252", "cp1251"]
NAMES = ["x.csv", "x.tsv", "x.jsonl", "x.txt", "x", "x.parquet", "x.csv.gz", "x.jsonl.zst"]
PACKERS: list[Any] = [bytes, bytes, bytes, gzip.compress, zstd.compress, bz2.compress]


def _parquet() -> bytes:
    columns = {"a": ["1"], "b": [1_767_348_000], "c": [1.5], "d": [{"e": [1, {"f": 2}][:1]}]}
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


texts = st.lists(st.sampled_from(ODD) | st.text(max_size=8), max_size=25).map("".join)
encoded = st.builds(lambda text, codec: text.encode(codec, "replace"), texts, st.sampled_from(CODECS))
contents = st.builds(lambda pack, content: pack(content), st.sampled_from(PACKERS), st.binary(max_size=200) | encoded)
parquets = st.builds(
    lambda content, at, new: content[: at % len(content)] + new + content[at % len(content) + len(new) :],
    st.just(_parquet()), st.integers(0, 5_000), st.binary(max_size=6),
)  # fmt: skip
options = st.builds(
    ReadOptions,
    delimiter=st.sampled_from([None, None, ",", ";"]),
    encoding=st.sampled_from([None, None, "utf-8", "utf-16", "cp1252"]),
    decimal=st.sampled_from([None, ",", "."]),
    dates=st.sampled_from([None, "dmy", "mdy", "ymd"]),
    unit=st.sampled_from([None, None, "s", "ms", "excel"]),
    time_format=st.sampled_from([None, None, "%d.%m.%Y"]),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(name="x.csv", content=b'a,b,c,d.e\n1,2026-01-02,"3', options=ReadOptions())
@example(name="x.csv", content=b"\xff\xfea", options=ReadOptions())
@given(
    name=st.sampled_from(NAMES),
    content=contents | parquets | st.builds(lambda content, cut: content[: -cut or None], contents, st.integers(0, 30)),
    options=options,
)
def test_a_file_is_read_or_refused(tmp_path: Path, name: str, content: bytes, options: ReadOptions) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    try:
        source = open_log(path, options)
        log = source.read(source.names)
        assert len(log) == len(log.rows)
        assert all(len(values) == len(log) for values in log.columns().values())
        mapping = complete_mapping(mapping_of(GENERIC, PAIRS), source.names)
        rows = Rows(source.read(columns_of(mapping)), mapping, zone=UTC, latest=2e9, max_bytes=2_000, options=options)
        found = list(rows)
    except SourceError as error:
        refused = str(error).replace(str(path), name)
    else:
        refused = "".join(row.what for row in (*found, *rows.early) if not isinstance(row, Row))
        assert len(found) + len(rows.early) == len(rows)
    assert refused.isprintable()  # nothing that a terminal would obey


pieces = st.sampled_from(["a", ",", '"', '""', "\n", "\r\n", "\r", '"x\ny"', '5" pipe', '"b"', '\n"c\r\nd",e\n'])


@settings(max_examples=500, deadline=None)
@given(st.lists(pieces, max_size=30).map("".join))
def test_lines_are_joined_to_records_as_the_reader_does(text: str) -> None:
    lines = list(io.StringIO(text, newline=""))
    rows = list(csv.reader(lines))
    joined = delimited._joined(lines, rows, 7)
    if joined is not None:
        texts, firsts = delimited._split(lines, 7, ",")
        assert joined[0] == texts
        assert joined[1].tolist() == firsts.tolist()


def test_well_formed_records_are_joined_without_parsing_again() -> None:
    lines = ["a,b\n", 'c,"d\n', 'e ""f""\r\n', 'g"\n', "\n", 'h,"i"\n']
    joined = delimited._joined(lines, list(csv.reader(lines)), 0)
    assert joined is not None
    assert joined[0] == ["a,b\n", "".join(lines[1:4]), "\n", 'h,"i"\n']
    assert joined[1].tolist() == [1, 2, 5, 6]


@pytest.mark.parametrize("length", [2, 100_000])
def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.setattr("producers.replay.text_files.LINE_LIMIT", 50_000)
    (tmp_path / "x.csv").write_text(f"a,b\n1,{'x' * length}\n")
    if length < 50_000:
        assert len(open_log(tmp_path / "x.csv").read(["a"])) == 1
    else:
        with pytest.raises(SourceError, match=r"Line 2 of x\.csv has more than 50,000 characters"):
            open_log(tmp_path / "x.csv").read(["a"])
