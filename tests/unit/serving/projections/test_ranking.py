"""Customers by risk: filters, order and pages."""

import json
import random

import pytest

from ebb.contracts.scores import Band
from serving.http.page_tokens import page_token, read_token
from serving.http.problems import ProblemError
from serving.projections.ranking import CustomerFilter, Sort, at_risk, movers
from serving.projections.scores import ScoreView
from tests.support.sender import make_score


def view_of(*scores: object) -> ScoreView:
    view = ScoreView()
    view.apply([(b"", score.model_dump_json().encode()) for score in scores])  # type: ignore[attr-defined]
    return view


def ids(bodies: list[bytes]) -> list[str]:
    return [json.loads(body)["customer_id"] for body in bodies]


def walk(view: ScoreView, query: CustomerFilter, sort: Sort, size: int) -> list[str]:
    seen: list[str] = []
    after = None
    while True:
        page = at_risk(view, query, sort, after, size)
        seen += ids(page.bodies)
        assert len(page.bodies) <= size
        if page.following is None:
            return seen
        after = page.following


@pytest.mark.parametrize("size", [1, 3, 7, 100])
@pytest.mark.parametrize("sort", ["churn", "value_at_risk", "expected_gain"])
def test_pages_list_every_customer_exactly_once_in_order_even_with_many_ties(sort: Sort, size: int) -> None:
    choose = random.Random(5)  # noqa: S311 - not for secrets
    scores = [make_score(f"c-{number}", choose.choice([0.1, 0.5, 0.5, 0.9])) for number in range(60)]
    expected = [
        score.customer_id for score in sorted(scores, key=lambda score: (-getattr(score, sort), score.customer_id))
    ]
    assert walk(view_of(*scores), CustomerFilter(), sort, size) == expected


def test_filters_must_all_hold() -> None:
    view = view_of(
        make_score("a", 0.9, country="DE", channel="app", value_at_risk=50),
        make_score("b", 0.9, country="FR", channel="app", value_at_risk=50),
        make_score("c", 0.7, country="DE", channel="app", value_at_risk=50),
        make_score("d", 0.9, country="DE", channel="web", value_at_risk=50),
        make_score("e", 0.9, country="DE", channel="app", value_at_risk=10),
    )
    query = CustomerFilter(bands=(Band.CRITICAL,), country="DE", channel="app", min_value=20, min_churn=0.8)
    assert ids(at_risk(view, query, "churn", None, 10).bodies) == ["a"]
    assert ids(
        at_risk(view, CustomerFilter(bands=(Band.HIGH, Band.CRITICAL), country="DE"), "churn", None, 10).bodies
    ) == [
        "a",
        "d",
        "e",
        "c",
    ]


def test_unknown_country_lists_no_customer() -> None:
    page = at_risk(view_of(make_score("a", 0.9, country=None)), CustomerFilter(country="XX"), "churn", None, 10)
    assert page.bodies == []
    assert page.following is None


def test_erased_customer_is_listed_no_more() -> None:
    view = view_of(make_score("a", 0.9), make_score("b", 0.8))
    view.apply([(b"a", None)])
    assert walk(view, CustomerFilter(), "churn", 1) == ["b"]


def test_full_last_page_has_no_next_page() -> None:
    page = at_risk(view_of(make_score("a", 0.9), make_score("b", 0.8)), CustomerFilter(), "churn", None, 2)
    assert page.following is None


def test_movers_are_the_strongest_changes_of_each_direction() -> None:
    view = view_of(
        make_score("up-1", 0.5, trend_7d=0.1),
        make_score("up-3", 0.5, trend_7d=0.3),
        make_score("up-2", 0.5, trend_7d=0.2),
        make_score("down", 0.5, trend_7d=-0.4),
        make_score("new", 0.5, trend_7d=None),
        make_score("still", 0.5, trend_7d=0.0),
        make_score("gone", 0.5, trend_7d=0.9),
    )
    view.apply([(b"gone", None)])
    assert ids(movers(view, "up", 2)) == ["up-3", "up-2"]
    assert ids(movers(view, "up", 10)) == ["up-3", "up-2", "up-1"]
    assert ids(movers(view, "down", 10)) == ["down"]


def test_page_token_is_valid_only_for_the_query_that_returned_it() -> None:
    token = page_token(["q", 1], (0.25, "c-ü"))
    assert read_token(["q", 1], token) == (0.25, "c-ü")
    with pytest.raises(ProblemError, match="not a token") as caught:
        read_token(["q", 2], token)
    assert caught.value.kind == "bad-page-token"


@pytest.mark.parametrize(
    "token", ["", "a", "%%%", "bm9qc29u", "W10", "WzEsMl0", "WzEsMiwzXQ", "WyJhIiwieCIsImIiXQ", "é"]
)
def test_malformed_page_token_is_a_problem(token: str) -> None:
    with pytest.raises(ProblemError):
        read_token(["q"], token)


def test_no_page_token_is_the_first_page_and_none_follows_the_last() -> None:
    assert read_token(["q"], None) is None
    assert page_token(["q"], None) is None
