"""Columns of any table become inputs; what cannot be one is named."""

import numpy as np
import pytest

from online_ml.evaluation.tabular import LEVELS, encode


def by_name(columns: dict[str, list[object]]) -> dict[str, list[float]]:
    table = encode(columns)
    return dict(zip(table.names, table.inputs.T.tolist(), strict=True))


def test_text_that_is_a_number_counts_as_one_and_blanks_as_missing() -> None:
    columns = by_name({"charge": ["1.5", " ", "3.5", None, "5.5", "nan"]})
    assert columns["charge missing"] == [0, 1, 0, 1, 0, 1]
    assert columns["charge"][1] == columns["charge"][2] == pytest.approx(0)  # filled with the median
    assert columns["charge"][0] == pytest.approx(-columns["charge"][4])
    assert np.isfinite(list(columns.values())).all()


def test_numbers_climb_by_steps_between_their_quantiles() -> None:
    columns = by_name({"months": list(range(101))})
    assert columns["months 20 to 40"][30] == pytest.approx(0.5)
    assert columns["months 20 to 40"][10] == 0
    assert columns["months 20 to 40"][90] == 1


def test_names_become_flags_of_which_one_is_set() -> None:
    columns = by_name({"contract": ["month", "year", "month", None]})
    assert columns == {
        "contract = month": [1, 0, 1, 0],
        "contract = year": [0, 1, 0, 0],
        "contract = other or missing": [0, 0, 0, 1],
    }


def test_rare_names_share_a_flag() -> None:
    names = [f"n{number:03d}" for number in range(LEVELS + 10) for _ in range(3)]
    table = encode({"city": [*names, *names[:3]]})
    assert len(table.names) == LEVELS + 1
    assert (table.inputs.sum(axis=1) == 1).all()


def test_uninformative_columns_are_left_out_with_the_reason() -> None:
    rows = 100
    table = encode(
        {
            "id": [f"customer {number}" for number in range(rows)],
            "country": ["DE"] * rows,
            "note": [None] * rows,
            "vip": [number % 7 == 0 for number in range(rows)],
        }
    )
    assert table.left_out == {
        "id": "identifies rows and describes nothing",
        "country": "has one value",
        "note": "is empty",
    }
    assert table.names == ["vip = False", "vip = True"]


def test_a_wild_number_reaches_no_further_than_ten_spreads() -> None:
    columns = by_name({"amount": [*([1.0, 2.0] * 500), 1e300]})
    assert max(columns["amount"]) <= 10
    assert np.isfinite(columns["amount"]).all()
