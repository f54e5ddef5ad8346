"""Recorded logs in every format give the same columns."""

import bz2
import gzip
import lzma
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd

from ebb.errors import SourceError
from producers.replay.log import ReadOptions
from producers.replay.sources import read_log

RUSSIAN = bytes([0xCF, 0xEE, 0xEA, 0xF3, 0xEF, 0xE0, 0xF2, 0xE5, 0xEB, 0xFC]).decode("cp1251")


def test_parquet_keeps_types_and_reads_only_the_requested_columns(tmp_path: Path) -> None:
    at = datetime(2020, 1, 1, tzinfo=UTC)
    table = pa.table({"who": ["a", "b"], "at": pa.array([at, at], pa.timestamp("us", "UTC")), "much": [1.5, None]})
    pq.write_table(table, tmp_path / "log.parquet")
    log = read_log(tmp_path / "log.parquet", ["who", "at"])
    assert log.columns() == {"who": ["a", "b"], "at": [at, at]}
    assert list(read_log(tmp_path / "log.parquet").names) == ["who", "at", "much"]
    assert orjson.loads(log.raw(1)) == {"who": "b", "at": "2020-01-01 00:00:00+00:00"}


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_csv_is_text_with_its_odd_rows_kept_aside_and_numbered(tmp_path: Path, name: str) -> None:
    text = b'who,"what, then",n\na,"say ""x"", y",1\nb,too,2,many\nfew\nc,,007\n'
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    log = read_log(tmp_path / name)
    assert log.columns() == {"who": ["a", "c"], "what, then": ['say "x", y', ""], "n": ["1", "007"]}
    assert log.rows.tolist() == [0, 3]
    assert [(refusal.row, refusal.reason, refusal.body) for refusal in log.broken] == [
        (1, "wrong_columns", b"b,too,2,many"),
        (2, "wrong_columns", b"few"),
    ]


def test_tsv_is_split_at_tabs(tmp_path: Path) -> None:
    (tmp_path / "log.tsv").write_bytes(b"who\twhat\na\tx,y\n")
    assert read_log(tmp_path / "log.tsv", ["what"]).columns() == {"what": ["x,y"]}


@pytest.mark.parametrize("name", ["log.jsonl", "log.ndjson.gz"])
def test_json_lines_keep_types_and_broken_lines_aside(tmp_path: Path, name: str) -> None:
    text = b'{"who": "a", "n": 1}\n\n{"who": \n[1]\n{"who": "b", "more": {"x": [2]}}\n'
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    log = read_log(tmp_path / name)
    assert log.columns() == {"who": ["a", "b"], "n": [1, None], "more": [None, {"x": [2]}]}
    assert log.rows.tolist() == [0, 3]
    assert [(refusal.row, refusal.reason) for refusal in log.broken] == [(1, "bad_json"), (2, "wrong_type")]


def test_a_missing_column_is_named_with_the_existing_ones(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes(b"who,what\na,b\n")
    with pytest.raises(SourceError, match=r"no column when; its columns are who, what.*--map"):
        read_log(tmp_path / "log.csv", ["who", "when"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("log.xlsx", b"PK\x03\x04 and so on", "is a zip archive or a workbook.*save the sheet as CSV"),
        ("log.xml", b"<a/>", "of a format that Ebb does not read.*Logs are CSV"),
        ("log.csv", b"", "is empty"),
        ("log.csv", b" \n\n", "is empty"),
        ("log.csv", b"a,b\n1,\x00\x01\x80\n", "is not text: it holds zero bytes"),
        ("log.csv", f"who,what\n{RUSSIAN},1\n".encode("cp1251"), "not UTF-8, and nothing.*--encoding"),
        ("log.csv", "who,what\nźródło,dał\n".encode("cp1250"), "not UTF-8, and nothing.*--encoding"),
        ("log.parquet", b"nothing", "cannot be read as Parquet.*damaged"),
        ("log.csv.gz", b"nothing", "is not gzip, as its name says"),
        ("log.csv.gz", gzip.compress(b"a,b\n" + bytes(range(48, 58)) * 9_000)[:-20], "is cut off: its compressed data"),
        ("log.csv.gz", gzip.compress(b"a,b\n1,2\n") + b"garbage", "is damaged: Not a gzipped file"),
        ("log.csv.zst", zstd.compress(b"a,b\n1,2\n")[:-3], "is cut off"),
        ("log.csv.zst", zstd.compress(b"a,b\n1,2\n" * 99)[:12] + b"\xff" * 30, "is damaged"),
        ("log.csv.bz2", bz2.compress(b"a,b\n1,2\n")[:-9], "is cut off"),
        ("log.csv.xz", lzma.compress(b"a,b\n1,2\n")[:-9], "is cut off"),
        ("log.csv", "a,b\n1,2\n".encode("utf-16")[:-1], "cannot be decoded.*--encoding"),
        ("log.csv", b'a,b\n1,2\n3,"x\n4,5\n6,7\n', "Line 3 of log.csv opens a quote in column 2 that is never closed"),
        ("log.csv", b"a;b|c;d|e\n1;2|3;4|5\n", "Line 1.*--delimiter"),
        ("log.jsonl", b'[{"who": "a"},\n{"who": "b"}]', "not an object a line .line 1.*Write one object a line"),
        ("log.jsonl", b'{\n  "who": "a"\n}', "not an object a line"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_what_it_is_and_what_to_do(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message):
        read_log(tmp_path / name)


def test_a_parquet_file_that_was_cut_or_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"who": [f"c{n}" for n in range(5_000)]}), path)
    whole = path.read_bytes()
    for broken in (whole[:-40], whole[:400] + b"\xff" * 400 + whole[800:], whole[:-4] + b"XXXX"):
        path.write_bytes(broken)
        with pytest.raises(SourceError, match=r"cannot be read as Parquet|not what its type says"):
            read_log(path)


def test_an_option_overrides_what_would_be_found(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(f"who~what;x\n{RUSSIAN}~{RUSSIAN};1\n".encode("cp1251"))
    log = read_log(path, options=ReadOptions(delimiter="~", encoding="windows-1251"))
    assert log.columns() == {"who": [RUSSIAN], "what;x": [f"{RUSSIAN};1"]}
    with pytest.raises(SourceError, match="There is no encoding 'klingon'"):
        read_log(path, options=ReadOptions(encoding="klingon"))
    with pytest.raises(SourceError, match="There is no encoding 'base64'"):
        read_log(path, options=ReadOptions(encoding="base64"))


def test_bytes_that_are_no_characters_cost_their_row(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes("who,what\nzoë,é\njürgen,à\n".encode() + b"b,\xe9\nc,ok\n")
    log = read_log(tmp_path / "log.csv")
    assert log.columns()["who"] == ["zoë", "jürgen", "c"]
    [refused] = log.broken
    assert (refused.reason, refused.place, refused.body) == ("bad_encoding", "line 4", b"b,\xe9")
    assert "column what holds bytes that are no characters" in refused.what


def test_lines_are_counted_through_quoted_breaks_and_blank_lines(tmp_path: Path) -> None:
    rows = [f'c{n},"first\r\nsecond ""{n}""\nthird"' for n in range(20_000)]
    rows[9_000] = "few"
    (tmp_path / "log.csv").write_text("\n\nwho,what\n" + "\n\n".join(rows) + "\n", newline="")
    log = read_log(tmp_path / "log.csv")
    assert len(log) == 19_999
    assert log.columns()["what"][123] == 'first\r\nsecond "123"\nthird'
    assert (log.line(0), log.line(1), log.line(9_000)) == (4, 8, 4 + 4 * 9_000 + 2)
    [refused] = log.broken
    assert (refused.row, refused.place, refused.body) == (9_000, f"line {4 + 4 * 9_000}", b"few")


def test_a_stray_quote_costs_the_rows_that_it_spans(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text('who,what\na,1\nb,"2\nc,3\nd,4"x,5\ne,6\n')
    log = read_log(tmp_path / "log.csv")
    assert log.columns()["who"] == ["a", "e"]
    [refused] = log.broken
    assert refused.place == "line 3"
    assert "in a record of 3 lines (is a quote left open?)" in refused.what


def test_headers_lose_their_blanks_and_doubled_ones_have_to_be_chosen(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(" who ,id,,id\na,1,x,2\n who ,id,,id\n")
    log = read_log(tmp_path / "log.csv")
    assert log.columns() == {"who": ["a"], "id (1)": ["1"], "column 3": ["x"], "id (2)": ["2"]}
    assert "column id is there 2 times, so called (1) to (2)" in log.words
    assert [(refused.reason, refused.place) for refused in log.broken] == [("repeated_header", "line 3")]
    with pytest.raises(SourceError, match=r"no column id; its columns are who, id \(1\), column 3, id \(2\)"):
        read_log(tmp_path / "log.csv", ["id"])


def test_fields_beyond_the_header_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("who;what\na;1;\nb;2;;\nc;3;x\n")
    log = read_log(tmp_path / "log.csv")
    assert log.columns() == {"who": ["a", "b"], "what": ["1", "2"]}
    assert [refused.place for refused in log.broken] == ["line 4"]


def test_numbers_of_json_keep_all_digits(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"who": 12345678901234567890123, "much": NaN}\n')
    columns = read_log(tmp_path / "log.jsonl").columns()
    assert columns["who"] == [12345678901234567890123]
    assert columns["much"][0] != columns["much"][0]


def test_nested_columns_have_a_path(tmp_path: Path) -> None:
    rows = [{"user": {"id": "a", "plan": {"name": "x"}}}, {"user": None}, {"user": {"id": "b", "plan": None}}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "log.parquet")
    (tmp_path / "log.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    for name in ("log.parquet", "log.jsonl"):
        log = read_log(tmp_path / name, ["user.id", "user.plan.name"])
        assert log.columns() == {"user.id": ["a", None, "b"], "user.plan.name": ["x", None, None]}
        with pytest.raises(SourceError, match=r"no column usr\.id"):
            read_log(tmp_path / name, ["usr.id"])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="There is no file"):
        read_log(tmp_path / "log.csv")
