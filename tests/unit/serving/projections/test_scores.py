"""The view holds the latest score of every customer."""

import numpy as np
import pytest

from serving.projections.scores import NO_BAND, ScoreView
from tests.support.sender import days_later, make_score


def record(customer: str, churn: float, **fields: object) -> tuple[bytes, bytes]:
    return customer.encode(), make_score(customer, churn, **fields).model_dump_json().encode()


def test_view_answers_with_the_bytes_that_were_on_the_topic() -> None:
    view = ScoreView()
    key, body = record("c-1", 0.4)
    view.apply([(key, body)])
    assert view.score("c-1") is view.score("c-1")
    assert view.score("c-1") == body


def test_view_keeps_the_latest_score_of_a_customer_even_within_one_batch() -> None:
    view = ScoreView()
    changes = view.apply([record("c-1", 0.2), record("c-2", 0.3), record("c-1", 0.9)])
    assert len(view) == 2
    assert view.rows == 2
    assert view.score("c-1") == record("c-1", 0.9)[1] or b'"churn":0.9' in (view.score("c-1") or b"")
    assert view.columns.churn[:2].tolist() == [0.9, 0.3]
    assert [change.fields.churn for change in changes] == [0.2, 0.3, 0.9]


def test_view_drops_a_customer_at_a_tombstone() -> None:
    view = ScoreView()
    view.apply([record("c-1", 0.9), record("c-2", 0.3)])
    view.apply([(b"c-1", None)])
    assert view.score("c-1") is None
    assert len(view) == 1
    assert view.columns.band[0] == NO_BAND


def test_view_applies_a_tombstone_between_two_scores_in_order() -> None:
    view = ScoreView()
    view.apply([record("c-1", 0.9), (b"c-1", None), record("c-1", 0.1)])
    assert len(view) == 1
    assert b'"churn":0.1' in (view.score("c-1") or b"")


def test_view_never_gives_an_erased_customers_row_to_another() -> None:
    view = ScoreView()
    view.apply([record("c-1", 0.9)])
    view.apply([(b"c-1", None), record("c-2", 0.2)])
    assert view.customer(0) == "c-1"
    assert view.body(0) is None
    assert view.customer(1) == "c-2"


def test_view_ignores_a_tombstone_of_an_unknown_customer() -> None:
    view = ScoreView()
    assert view.apply([(b"unknown", None), (None, None)]) == []
    assert len(view) == 0


def test_view_grows_past_its_first_rows_and_loses_nothing() -> None:
    view = ScoreView()
    before = view.columns
    view.apply([record(f"c-{number}", number / 5_000) for number in range(5_000)])
    assert view.rows == 5_000
    assert view.columns is not before
    np.testing.assert_allclose(view.columns.churn[:5_000], np.arange(5_000) / 5_000)
    assert b'"customer_id":"c-4999"' in (view.score("c-4999") or b"")


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
def test_view_skips_invalid_scores(body: bytes) -> None:
    view = ScoreView()
    changes = view.apply([(b"x", body), record("c-1", 0.5)])
    assert [change.fields.customer_id for change in changes] == ["c-1"]


def test_view_knows_the_latest_event_time_whatever_the_order() -> None:
    view = ScoreView()
    view.apply([record("c-1", 0.5, as_of=days_later(3)), record("c-2", 0.5, as_of=days_later(1))])
    view.apply([record("c-3", 0.5, as_of=days_later(2))])
    assert view.latest_as_of == days_later(3).timestamp()


def test_view_codes_countries_and_marks_what_is_missing() -> None:
    view = ScoreView()
    view.apply([record("c-1", 0.5, country="FR"), record("c-2", 0.5, country=None, trend_7d=0.2)])
    assert view.columns.country[0] == view.label("FR") > 0
    assert view.columns.country[1] == 0
    assert view.label("nowhere") == -1
    assert np.isnan(view.columns.trend[0])
    assert view.columns.trend[1] == 0.2
