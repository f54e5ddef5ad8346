"""Every form of file that docs/files.md lists is read as the same events, and says how it was read."""

import bz2
import gzip
import lzma
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd

from producers.replay.log import AS_FOUND, ReadOptions
from producers.replay.presets import GENERIC, mapping_of
from producers.replay.rows import Row, Rows, columns_of, complete_mapping
from producers.replay.sources import open_log
from tests.support.project import ROOT

MAPPING = ["customer_id=Kunde", "occurred_at=Zeit", "type==purchase", "amount=Betrag", "note=Notiz", "count=Zahl"]
TIMES = [1_767_348_000, 1_767_434_400, 1_769_075_999]
"""2026-01-02T10:00:00Z, a day later, and 2026-01-22T09:59:59Z."""
EVENTS: list[dict[str, Any]] = [
    {"Kunde": "17850", "Zeit": TIMES[0], "Betrag": 1249.5, "Notiz": 'Größe "40"\nblau, rot; grün', "Zahl": 6},
    {"Kunde": "007", "Zeit": TIMES[1], "Betrag": 49.9, "Notiz": None, "Zahl": 2.5},
    {"Kunde": "12345678901234567890123", "Zeit": TIMES[2], "Betrag": None, "Notiz": "true|x", "Zahl": None},
]
"""What every file holds, in the order of time."""


def _stamp(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _csv(
    delimiter: str = ",",
    *,
    time: Callable[[int], str] = _stamp,
    amount: Callable[[float], str] = str,
    number: Callable[[float], str] = str,
    none: str = "",
    end: str = "\n",
    header: str = "Kunde,Zeit,Betrag,Notiz,Zahl",
) -> str:
    lines = [header.replace(",", delimiter)]
    for event in EVENTS:
        fields = [
            event["Kunde"],
            time(event["Zeit"]),
            none if event["Betrag"] is None else amount(event["Betrag"]),
            none if event["Notiz"] is None else '"{}"'.format(event["Notiz"].replace('"', '""')),
            none if event["Zahl"] is None else number(event["Zahl"]),
        ]
        lines.append(
            delimiter.join(f'"{field}"' if delimiter in field and field[0] != '"' else field for field in fields)
        )
    return end.join([*lines, ""])


def _german(value: float) -> str:
    return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))


def _when(pattern: str) -> Callable[[int], str]:
    return lambda at: datetime.fromtimestamp(at, UTC).strftime(pattern)


def _json() -> list[bytes]:
    return [orjson.dumps(event | {"Zeit": _stamp(event["Zeit"])}) for event in EVENTS]


def _parquet(path: Path, columns: dict[str, pa.Array]) -> None:
    pq.write_table(pa.table(columns), path)


def _plain_columns() -> dict[str, pa.Array]:
    return {
        "Kunde": pa.array([event["Kunde"] for event in EVENTS]),
        "Zeit": pa.array([event["Zeit"] * 1_000 for event in EVENTS], pa.timestamp("ms")),
        "Betrag": pa.array([event["Betrag"] for event in EVENTS]),
        "Notiz": pa.array([event["Notiz"] for event in EVENTS]),
        "Zahl": pa.array([event["Zahl"] for event in EVENTS], pa.float64()),
    }


def _odd_columns() -> dict[str, pa.Array]:
    """Return the same in decimals, dictionaries, single precision, other units and zones."""
    plain = _plain_columns()
    return {
        "Kunde": plain["Kunde"].dictionary_encode(),
        "Zeit": pa.array([event["Zeit"] * 10**9 for event in EVENTS], pa.timestamp("ns", "Asia/Tokyo")),
        "Betrag": pa.array(
            [None if event["Betrag"] is None else Decimal(str(event["Betrag"])) for event in EVENTS],
            pa.decimal128(12, 3),
        ),
        "Notiz": plain["Notiz"].cast(pa.binary()),
        "Zahl": plain["Zahl"].cast(pa.float32()),
    }


TEXT: dict[str, tuple[str, bytes, str]] = {
    "comma": ("log.csv", _csv().encode(), "comma, UTF-8"),
    "semicolon": ("log.csv", _csv(";").encode(), "semicolon, UTF-8"),
    "tab": ("log.tsv", _csv("\t").encode(), "tab, UTF-8"),
    "pipe": ("log.txt", _csv("|").encode(), "pipe, UTF-8"),
    "a spreadsheet's `sep=`": ("log.csv", b"sep=;\r\n" + _csv(";", end="\r\n").encode(), "semicolon, UTF-8"),
    "line ends of Windows": ("log.csv", _csv(end="\r\n").encode(), "comma, UTF-8"),
    "line ends of old Macs": ("log.csv", _csv(end="\r").encode(), "comma, UTF-8"),
    "UTF-8 with BOM": ("log.csv", _csv().encode("utf-8-sig"), "comma, UTF-8 with BOM"),
    "UTF-16": ("log.csv", _csv("\t").encode("utf-16"), "tab, UTF-16"),
    "UTF-16 without BOM": ("log.csv", _csv().encode("utf-16-le"), "comma, UTF-16"),
    "Windows-1252": ("log.csv", _csv(";").encode("cp1252"), "semicolon, Windows-1252"),
    "Latin-1": ("log.csv", _csv().encode("latin-1"), "comma, Windows-1252"),
    "decimal comma": ("log.csv", _csv(";", amount=_german, number=lambda value: f"{value:g}".replace(".", ",")).encode(), "semicolon, UTF-8, decimal comma"),  # noqa: E501
    "decimal comma in quotes": ("log.csv", _csv(amount=lambda value: f"{value:.2f} €".replace(".", ","), number=lambda value: f"{value:g}".replace(".", ",")).encode(), "comma, UTF-8, decimal comma"),  # noqa: E501
    "thousands marks": ("log.csv", _csv(amount=lambda value: f"${value:,.2f}").encode(), "comma, UTF-8"),
    "epoch seconds": ("log.csv", _csv(time=str).encode(), "comma, UTF-8"),
    "epoch milliseconds": ("log.csv", _csv(time=lambda at: f"{at}000").encode(), "comma, UTF-8, times in milliseconds"),
    "epoch microseconds": ("log.csv", _csv(time=lambda at: f"{at}000000").encode(), "comma, UTF-8, times in microseconds"),  # noqa: E501
    "ISO 8601 with zone": ("log.csv", _csv(time=_when("%Y-%m-%dT%H:%M:%SZ")).encode(), "comma, UTF-8"),
    "day.month.year": ("log.csv", _csv(time=_when("%d.%m.%Y %H:%M:%S")).encode(), "comma, UTF-8, dates day.month.year"),
    "day/month/year": ("log.csv", _csv(time=_when("%d/%m/%Y %H:%M:%S")).encode(), "comma, UTF-8, dates day/month/year"),
    "month/day/year": ("log.csv", _csv(time=_when("%m/%d/%Y %I:%M:%S %p")).encode(), "comma, UTF-8, dates month/day/year"),  # noqa: E501
    "NULL and nan": ("log.csv", _csv(none="NULL").encode(), "comma, UTF-8"),
    "blanks around headers": ("log.csv", _csv(header="Kunde , Zeit, Betrag,  Notiz,Zahl ").encode(), "comma, UTF-8"),
    "gzip": ("log.csv.gz", gzip.compress(_csv().encode()), "comma, UTF-8, gzip"),
    "gzip of several members": ("log.csv.gz", gzip.compress(_csv().encode()[:60]) + gzip.compress(_csv().encode()[60:]), "comma, UTF-8, gzip"),  # noqa: E501
    "zstd": ("log.csv.zst", zstd.compress(_csv().encode()), "comma, UTF-8, zstd"),
    "zstd of several frames": ("log.csv.zst", zstd.compress(_csv().encode()[:60]) + zstd.compress(_csv().encode()[60:]), "comma, UTF-8, zstd"),  # noqa: E501
    "bzip2": ("log.csv.bz2", bz2.compress(_csv().encode()), "comma, UTF-8, bzip2"),
    "xz": ("log.csv.xz", lzma.compress(_csv().encode()), "comma, UTF-8, xz"),
    "compressed, and not named so": ("log.csv", gzip.compress(_csv().encode()), "comma, UTF-8, gzip"),
    "JSON lines": ("log.jsonl", b"\n".join(_json()), "JSON lines, UTF-8"),
    "JSON lines with BOM and blank lines": ("log.ndjson", b"\xef\xbb\xbf\n" + b"\r\n\r\n".join(_json()) + b"\n\n", "JSON lines, UTF-8 with BOM"),  # noqa: E501
    "JSON lines in UTF-16": ("log.json", b"\n".join(_json()).decode().encode("utf-16"), "JSON lines, UTF-16"),
    "JSON lines, compressed": ("log.jsonl.zst", zstd.compress(b"\n".join(_json())), "JSON lines, UTF-8, zstd"),
}  # fmt: skip
"""Form → name, bytes, and how it says that it was read."""
TOLD: dict[str, tuple[bytes, ReadOptions, str]] = {
    "day/month/year, told": (_csv(time=_when("%d/%m/%y %H:%M:%S")).encode(), ReadOptions(dates="dmy"), "comma, UTF-8, dates day/month/year"),  # noqa: E501
    "year/month/day": (_csv(time=_when("%Y/%m/%d %H:%M:%S")).encode(), AS_FOUND, "comma, UTF-8"),
    "a format of `strptime`": (_csv(time=_when("%d-%b-%Y %H.%M.%S")).encode(), ReadOptions(time_format="%d-%b-%Y %H.%M.%S"), "comma, UTF-8"),  # noqa: E501
    "a spreadsheet's days": (_csv(time=lambda at: repr(at / 86_400 + 25_569)).encode(), ReadOptions(unit="excel"), "comma, UTF-8, times in a spreadsheet's days"),  # noqa: E501
    "another encoding": (_csv().encode("cp850"), ReadOptions(encoding="cp850"), "comma, cp850"),
    "another delimiter": (_csv("~").encode(), ReadOptions(delimiter="~"), "'~', UTF-8"),
}  # fmt: skip
TABLES = {"Parquet": _plain_columns, "Parquet with decimals, dictionaries, other units": _odd_columns}


def _read(path: Path, options: ReadOptions = AS_FOUND, pairs: list[str] = MAPPING) -> tuple[list[Row], Rows]:
    source = open_log(path, options)
    mapping = complete_mapping(mapping_of(GENERIC, pairs), source.names)
    rows = Rows(source.read(columns_of(mapping)), mapping, zone=UTC, latest=2e9, max_bytes=2_000, options=options)
    read = list(rows)
    assert not rows.early
    assert all(isinstance(row, Row) for row in read), read
    return [row for row in read if isinstance(row, Row)], rows


@pytest.fixture
def expected(tmp_path: Path) -> list[Row]:
    """Return the events as JSON lines give them."""
    path = tmp_path / "expected.jsonl"
    path.write_bytes(b"\n".join(_json()))
    rows, _ = _read(path)
    assert [orjson.loads(row.body)["customer_id"] for row in rows] == [event["Kunde"] for event in EVENTS]
    assert [row.time for row in rows] == TIMES
    assert orjson.loads(rows[0].body)["properties"] == {"amount": 1249.5, "note": EVENTS[0]["Notiz"], "count": 6}
    assert orjson.loads(rows[1].body)["properties"] == {"amount": 49.9, "count": 2.5}
    return rows


@pytest.mark.parametrize("form", TEXT)
def test_the_same_events_come_from_text_of_every_form(tmp_path: Path, expected: list[Row], form: str) -> None:
    name, content, how = TEXT[form]
    (tmp_path / name).write_bytes(content)
    rows, read = _read(tmp_path / name)
    assert rows == expected  # ids and bytes
    assert ", ".join(read.words) == how


@pytest.mark.parametrize("form", TOLD)
def test_the_same_events_come_from_text_whose_form_is_told(tmp_path: Path, expected: list[Row], form: str) -> None:
    content, options, how = TOLD[form]
    (tmp_path / "log.csv").write_bytes(content)
    rows, read = _read(tmp_path / "log.csv", options)
    assert rows == expected
    assert ", ".join(read.words) == how


@pytest.mark.parametrize("form", TABLES)
def test_the_same_events_come_from_tables(tmp_path: Path, expected: list[Row], form: str) -> None:
    _parquet(tmp_path / "log.parquet", TABLES[form]())
    rows, read = _read(tmp_path / "log.parquet")
    assert rows == expected
    assert read.words == ["Parquet"]


def test_the_same_events_come_from_nested_columns(tmp_path: Path, expected: list[Row]) -> None:
    nested = pa.Table.from_pylist([{"kauf": {"Kunde": event["Kunde"], "Betrag": event["Betrag"]}} for event in EVENTS])
    columns = _plain_columns()
    _parquet(tmp_path / "log.parquet", {**columns, "kauf": nested.column("kauf"), "Kunde": columns["Notiz"]})
    pairs = ["customer_id=kauf.Kunde", "amount=kauf.Betrag", *MAPPING[1:3], *MAPPING[4:]]
    rows, _ = _read(tmp_path / "log.parquet", pairs=pairs)
    assert rows == expected


def test_dates_and_whole_numbers_of_a_table_are_those_of_its_text(tmp_path: Path) -> None:
    days = [date(2026, 1, day) for day in (2, 3, 4)]
    table = {
        "customer_id": pa.array([17850, None, 99], pa.float64()),
        "occurred_at": pa.array(days, pa.date32()),
        "type": pa.array(["view"] * 3),
        "paid": pa.array([True, False, None]),
        "until": pa.array(days, pa.date64()),
        "order_id": pa.array([1, 2, None], pa.int32()),
        "list": pa.array([None] * 3, pa.list_(pa.int8())),
    }
    pq.write_table(pa.table(table), tmp_path / "log.parquet")
    text = "customer_id,occurred_at,type,paid,until,order_id,list\n" + "".join(
        f"{customer},{day},view,{paid},{day} 00:00:00,{order},\n"
        for customer, day, paid, order in zip(
            ("17850.0 ", "nan", "99"), days, ("True", "FALSE", ""), ("1.0", "2", ""), strict=True
        )
    )
    (tmp_path / "log.csv").write_text(text)
    serial = text.replace("2026-01-0", "2026010").replace(" 00:00:00", "")
    (tmp_path / "log.txt").write_text(serial)
    pairs = ["paid=paid", "until=until", "order_id=order_id", "list=list"]
    sent = []
    for name in ("log.parquet", "log.csv", "log.txt"):
        source = open_log(tmp_path / name)
        mapping = complete_mapping(mapping_of(GENERIC, pairs if name != "log.txt" else pairs[:1]), source.names)
        rows = Rows(source.read(columns_of(mapping)), mapping, zone=ZoneInfo("UTC"), latest=2e9, max_bytes=2_000)
        read = list(rows)
        assert [getattr(row, "reason", "") for row in read] == ["", "no_customer", ""]
        sent.append([row for row in read if isinstance(row, Row)])
    assert sent[0] == sent[1]
    assert [row.time for row in sent[2]] == [row.time for row in sent[0]]
    assert orjson.loads(sent[0][0].body)["properties"] == {"paid": True, "until": "2026-01-02", "order_id": "1"}


def test_the_page_lists_every_form() -> None:
    page = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| ([^|]+?) \|", page, re.MULTILINE))
    assert {*TEXT, *TOLD, *TABLES} <= {form.strip() for form in listed}
