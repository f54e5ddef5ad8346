"""What may be read in two ways is decided by the rest of its column, or refused with line, column and both readings."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebb.errors import InvalidEventError, SourceError
from ebb.values.customer_ids import read_customer_id
from ebb.values.times import read_time
from producers.replay.canonical import ColumnReader, free, number, text
from producers.replay.decimals import with_numbers
from producers.replay.log import AS_FOUND, ReadOptions
from producers.replay.presets import GENERIC, mapping_of
from producers.replay.rows import Row, Rows, columns_of, complete_mapping
from producers.replay.sources import open_log, read_log
from producers.replay.times import TimeReader


def _rows(path: Path, content: str, options: ReadOptions = AS_FOUND, pairs: tuple[str, ...] = ()) -> Rows:
    path.write_text(content, encoding="utf-8")
    source = open_log(path, options)
    mapping = complete_mapping(mapping_of(GENERIC, list(pairs)), source.names)
    return Rows(source.read(columns_of(mapping)), mapping, zone=UTC, latest=2e9, max_bytes=2_000, options=options)


def _log(*dates: str, amounts: tuple[str, ...] = ()) -> str:
    amounts = amounts or ("1",) * len(dates)
    lines = [f"c{n};{day};view;{paid}" for n, (day, paid) in enumerate(zip(dates, amounts, strict=True))]
    return "\n".join(["customer_id;occurred_at;type;amount", *lines, ""])


def _days(rows: Rows) -> list[str]:
    return [datetime.fromtimestamp(row.time, UTC).date().isoformat() for row in rows if isinstance(row, Row)]


def _amounts(rows: Rows) -> list[Any]:
    bodies = [orjson.loads(row.body) for row in rows if isinstance(row, Row)]
    return [body["properties"].get("amount") for body in bodies]


def test_a_date_in_doubt_is_read_as_those_that_are_certain(tmp_path: Path) -> None:
    assert _days(_rows(tmp_path / "a.csv", _log("03/04/2024", "25/04/2024"))) == ["2024-04-03", "2024-04-25"]
    assert _days(_rows(tmp_path / "a.csv", _log("04-03-2024", "04-25-2024"))) == ["2024-04-03", "2024-04-25"]
    assert _days(_rows(tmp_path / "a.csv", _log("03.04.2024", "04/04/2024"))) == ["2024-04-03", "2024-04-04"]


@pytest.mark.parametrize(
    ("dates", "message"),
    [
        (
            ("2024-01-01", "03/04/2024 10:00"),
            r"a\.csv, line 3, column occurred_at: '03/04/2024 10:00' is 3 April 2024 \(dmy\) or 4 March 2024 \(mdy\)",
        ),
        (("03/04/2024", "25/04/2024", "04/25/2024"), "others are of both orders: '25/04/2024', '04/25/2024'"),
    ],
)
def test_dates_that_nothing_decides_are_refused_with_both_readings(
    tmp_path: Path, dates: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        _rows(tmp_path / "a.csv", _log(*dates))
    told = _rows(tmp_path / "a.csv", _log(*dates), ReadOptions(dates="mdy"))
    assert "2024-03-04" in _days(told)
    assert "dates month/day/year" in told.words


def test_a_date_that_does_not_fit_the_order_costs_its_row(tmp_path: Path) -> None:
    rows = _rows(tmp_path / "a.csv", _log("03/04/2024", "25/04/2024"), ReadOptions(dates="mdy"))
    assert _days(rows) == ["2024-03-04"]
    [refused] = rows.early
    assert (refused.place, refused.reason) == ("line 3", "bad_time")
    assert refused.what == "`occurred_at` is '25/04/2024', which is no date as month/day/year."


@pytest.mark.parametrize(
    ("value", "reading"),
    [
        ("45383.5", "it may be 2024-04-01 12:00 as a spreadsheet's serial date or 1970-01-01 12:36 as Unix seconds"),
        ("31/02/2024", "no date as day/month/year"),
        ("03/04/24", "says no century"),
        ("soon", "is no time"),
    ],
)
def test_a_time_that_cannot_be_read_is_refused_with_what_it_may_be(tmp_path: Path, value: str, reading: str) -> None:
    rows = _rows(tmp_path / "a.csv", _log(value, "2024-04-01"))
    [refused] = rows.early
    assert (refused.place, refused.reason) == ("line 2", "bad_time")
    assert reading in refused.what
    assert "`occurred_at` is" in refused.what


def test_eight_digits_are_a_date_and_never_a_second_of_1970(tmp_path: Path) -> None:
    for written in ("20240401", "20240401.0"):
        assert _days(_rows(tmp_path / "a.csv", _log(written))) == ["2024-04-01"]
    for value in (20240401, 20240401.0, "20240401"):
        assert TimeReader("at", UTC, AS_FOUND).read(value) == datetime(2024, 4, 1, tzinfo=UTC).timestamp() * 1e6


def test_numbers_in_doubt_are_read_as_those_that_are_certain(tmp_path: Path) -> None:
    day = "2024-04-01"
    rows = _rows(tmp_path / "a.csv", _log(day, day, day, amounts=("1.249", "49,90", "1.000.000")))
    assert _amounts(rows) == [1249, 49.9, 1_000_000]
    assert "decimal comma" in rows.words
    rows = _rows(tmp_path / "a.csv", _log(day, day, day, amounts=("1,249", "49.90", "$ -0.50")))
    assert _amounts(rows) == [1249, 49.9, -0.5]


@pytest.mark.parametrize(
    ("amounts", "message"),
    [
        (("1", "1.249"), r"line 3, column amount: '1\.249' is 1\.249 or 1249, and no other row says which"),
        (("1,249",), r"line 2, column amount: '1,249' is 1\.249 or 1249"),
        (("49,90", "49.90"), r"'49,90' \(line 2, column amount\) has a decimal comma, '49\.90' \(line 3"),
    ],
)
def test_numbers_that_nothing_decides_are_refused_with_both_readings(
    tmp_path: Path, amounts: tuple[str, ...], message: str
) -> None:
    content = _log(*["2024-04-01"] * len(amounts), amounts=amounts)
    with pytest.raises(SourceError, match=message) as refused:
        _rows(tmp_path / "a.csv", content)
    assert "--decimal" in refused.value.hint
    assert _amounts(_rows(tmp_path / "a.csv", content, ReadOptions(decimal=",")))


def test_between_commas_a_single_point_is_before_the_fraction(tmp_path: Path) -> None:
    assert _amounts(_rows(tmp_path / "a.csv", _log("2024-04-01", amounts=("1.249",)).replace(";", ","))) == [1.249]


def test_a_partial_mapping_adds_to_the_columns_that_are_named_right(tmp_path: Path) -> None:
    content = "user;occurred_at;type;amount;country;shade\n7;2024-04-01;view;3;DE;red\n"
    [row] = _rows(tmp_path / "a.csv", content, pairs=("customer_id=user", "shade=shade"))
    assert isinstance(row, Row)
    assert orjson.loads(row.body)["properties"] == {"amount": 3.0, "country": "DE", "shade": "red"}


def test_no_customers_are_counted_and_one_customer_is_one(tmp_path: Path) -> None:
    ids = ["NULL", "nan", "", " ", "0", "17850", "17850.0", " 17850 ", "9" * 23, "9" * 22 + "8"]
    content = "customer_id,occurred_at,type\n" + "".join(f"{one},2024-04-01,view\n" for one in ids)
    read = list(_rows(tmp_path / "a.csv", content))
    assert [getattr(row, "reason", None) for row in read[:5]] == ["no_customer"] * 5
    assert [getattr(row, "customer_id", None) for row in read[5:]] == ["17850"] * 3 + ["9" * 23, "9" * 22 + "8"]


def test_a_table_has_numbers_where_all_of_a_column_are(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        'paid;share;plan;size;note\n1.249,50;0,5;basic;12;"1,5 or 2"\nNULL;1;plus;n/a;3\n', encoding="utf-8"
    )
    log = read_log(tmp_path / "a.csv")
    columns = with_numbers(log, log.columns(), None)
    assert columns == {
        "paid": [1249.5, None], "share": [0.5, 1.0], "plan": ["basic", "plus"], "size": [12.0, None],
        "note": ["1,5 or 2", "3"],
    }  # fmt: skip


moments = st.datetimes(datetime(1960, 1, 1), datetime(2199, 1, 1))  # noqa: DTZ001 - with a zone or without
written = st.one_of(
    st.builds(lambda at, by: at.isoformat(by), moments, st.sampled_from(["T", " "])),
    st.builds(lambda at: f"{at:%Y-%m-%d %H:%M}", moments),
    st.builds(lambda at: f"{at.isoformat()}Z", moments),
    st.builds(lambda at: f"{at.isoformat()}+00:00", moments),
    st.sampled_from(["2024-02-30 10:00:00", "2024-04-01", "", "1.5e9", "2024-04-01 24:00:00", "2024-04-01 10:60"]),
)


@given(st.lists(written, min_size=1, max_size=4))
def test_times_that_are_read_at_once_are_what_each_is_alone(values: list[str]) -> None:
    at_once = TimeReader("at", UTC, AS_FOUND).read_block(values)
    if at_once is not None:
        assert at_once.tolist() == [read_time("at", value, zone=UTC) for value in values]


def test_times_of_one_form_are_read_at_once() -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    for pattern in ("%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%fZ"):
        values = [(start + timedelta(hours=n)).strftime(pattern) for n in range(50)]
        assert TimeReader("at", UTC, AS_FOUND).read_block(values) is not None


@given(st.lists(st.sampled_from(["1", "1.0", " 1 ", "NULL", "0", "x" * 300, "1,5", "true", None]), max_size=20))
def test_columns_are_read_as_each_value_is_alone(values: list[str | None]) -> None:
    readers: list[Any] = [
        lambda value: read_customer_id(value, field="a"), lambda value: number("a", value, None),
        lambda value: text("a", value), lambda value: free("a", value, ","),
    ]  # fmt: skip
    for read in readers:
        alone: list[Any] = []
        for value in values:
            try:
                alone.append(read(value))
            except InvalidEventError as error:
                alone.append(error.what)
        refused: dict[int, InvalidEventError] = {}
        column = ColumnReader(read)
        for _ in range(2):
            together = column(values, refused)
            assert [refused[n].what if n in refused else value for n, value in enumerate(together)] == alone


@pytest.mark.parametrize(
    ("name", "values", "plain"),
    [
        ("size", ["6", "6.0", 6, 6.0, " 6 "], 6),
        ("size", ["49.90", "49.9", 49.9], 49.9),
        ("order_id", ["6", "6.0", 6, 6.0], "6"),
        ("size", ["007"], "007"),
        ("size", [2**60, str(2**60)], str(2**60)),
        ("paid", ["true", "True", True], True),
        ("until", ["2024-04-01T10:00:00Z", "2024-04-01 12:00:00+02:00", datetime(2024, 4, 1, 10, tzinfo=UTC)],
         "2024-04-01T10:00:00+00:00"),
        ("until", ["2024-04-01", "2024-04-01 00:00:00", "2024-04-01T00:00:00.000"], "2024-04-01"),
        ("size", [None, "", "NULL", float("nan")], None),
    ],
)  # fmt: skip
def test_a_property_has_one_form_however_it_was_written(name: str, values: list[Any], plain: Any) -> None:
    results = [free(name, value, None) for value in values]
    assert results == [plain] * len(values)
    assert {type(result) for result in results} == {type(plain)}


def test_messages_show_nothing_that_a_terminal_would_obey(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as refused:
        _rows(tmp_path / "a.csv", "\x1b[2Juser,b\n1,2\n", pairs=("customer_id=x",))
    assert re.search(r"columns are \\x1b\[2Juser, b", str(refused.value))
