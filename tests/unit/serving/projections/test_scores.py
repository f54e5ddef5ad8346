"""The board holds the latest score of every customer."""

import numpy as np
import pytest

from serving.projections.scores import NO_BAND, ScoreView
from tests.support.teller import days_later, make_score


def record(customer: str, churn: float, **fields: object) -> tuple[bytes, bytes]:
    return customer.encode(), make_score(customer, churn, **fields).model_dump_json().encode()


def test_board_answers_with_the_bytes_that_were_on_the_topic() -> None:
    board = ScoreView()
    key, body = record("c-1", 0.4)
    board.apply([(key, body)])
    assert board.score("c-1") is board.score("c-1")
    assert board.score("c-1") == body


def test_board_keeps_the_latest_score_of_a_customer_even_within_one_batch() -> None:
    board = ScoreView()
    changes = board.apply([record("c-1", 0.2), record("c-2", 0.3), record("c-1", 0.9)])
    assert len(board) == 2
    assert board.rows == 2
    assert board.score("c-1") == record("c-1", 0.9)[1] or b'"churn":0.9' in (board.score("c-1") or b"")
    assert board.columns.churn[:2].tolist() == [0.9, 0.3]
    assert [change.held.churn for change in changes] == [0.2, 0.3, 0.9]


def test_board_forgets_a_customer_at_a_tombstone() -> None:
    board = ScoreView()
    board.apply([record("c-1", 0.9), record("c-2", 0.3)])
    board.apply([(b"c-1", None)])
    assert board.score("c-1") is None
    assert len(board) == 1
    assert board.columns.band[0] == NO_BAND


def test_board_applies_a_tombstone_between_two_scores_in_order() -> None:
    board = ScoreView()
    board.apply([record("c-1", 0.9), (b"c-1", None), record("c-1", 0.1)])
    assert len(board) == 1
    assert b'"churn":0.1' in (board.score("c-1") or b"")


def test_board_never_gives_an_erased_customers_row_to_another() -> None:
    board = ScoreView()
    board.apply([record("c-1", 0.9)])
    board.apply([(b"c-1", None), record("c-2", 0.2)])
    assert board.customer(0) == "c-1"
    assert board.body(0) is None
    assert board.customer(1) == "c-2"


def test_board_ignores_a_tombstone_of_an_unknown_customer() -> None:
    board = ScoreView()
    assert board.apply([(b"nobody", None), (None, None)]) == []
    assert len(board) == 0


def test_board_grows_past_its_first_rows_and_loses_nothing() -> None:
    board = ScoreView()
    before = board.columns
    board.apply([record(f"c-{place}", place / 5_000) for place in range(5_000)])
    assert board.rows == 5_000
    assert board.columns is not before
    np.testing.assert_allclose(board.columns.churn[:5_000], np.arange(5_000) / 5_000)
    assert b'"customer_id":"c-4999"' in (board.score("c-4999") or b"")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"customer_id":"x"}',
        b"\xff\xfe",
        make_score("x").model_dump_json().replace('"medium"', '"odd"').encode(),
    ],
)
def test_board_leaves_out_what_is_no_score_and_goes_on(body: bytes) -> None:
    board = ScoreView()
    changes = board.apply([(b"x", body), record("c-1", 0.5)])
    assert [change.held.customer_id for change in changes] == ["c-1"]
    assert board.refused == 1


def test_board_knows_the_latest_event_time_whatever_the_order() -> None:
    board = ScoreView()
    board.apply([record("c-1", 0.5, as_of=days_later(3)), record("c-2", 0.5, as_of=days_later(1))])
    board.apply([record("c-3", 0.5, as_of=days_later(2))])
    assert board.latest_as_of == days_later(3).timestamp()


def test_board_codes_countries_and_marks_what_is_missing() -> None:
    board = ScoreView()
    board.apply([record("c-1", 0.5, country="FR"), record("c-2", 0.5, country=None, trend_7d=0.2)])
    assert board.columns.country[0] == board.label("FR") > 0
    assert board.columns.country[1] == 0
    assert board.label("nowhere") == -1
    assert np.isnan(board.columns.trend[0])
    assert board.columns.trend[1] == 0.2
