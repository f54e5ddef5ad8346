"""Page tokens: what a query was given continues it; whatever else is sent is refused."""

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.http.page_tokens import LARGEST, LONGEST, _digest, page_token, read_token
from serving.http.problems import ProblemError

QUERY = ["history", "c-1"]
WRONG: tuple[object, ...] = ("nan", "1e999", True, None, [1], {}, 2**53 + 2, -(2**60), 1e308)


def forged(*content: object) -> str:
    """Return a token as anybody can make it: the digest is of the query alone."""
    return base64.urlsafe_b64encode(orjson.dumps([_digest(QUERY), *content])).decode().rstrip("=")


@given(st.floats(-LARGEST, LARGEST), st.text(max_size=LONGEST))
def test_a_token_gives_back_where_the_next_page_begins(value: float, last: str) -> None:
    token = page_token(QUERY, (value, last))
    assert token is not None
    assert read_token(QUERY, token) == (value, last)
    with pytest.raises(ProblemError, match="not a token that this query was given"):
        read_token(["history", "c-2"], token)


@pytest.mark.parametrize(
    "token",
    [
        *(forged(value, "c-1") for value in WRONG),
        *(forged(1.0, last) for last in (5, None, ["c"], "c" * (LONGEST + 1))),
        forged(1.0),
        forged(),
        "²",
        "=",
        "",
        "e30",
    ],
)
def test_a_forged_token_is_refused(token: str) -> None:
    with pytest.raises(ProblemError, match="not a token that this query was given"):
        read_token(QUERY, token)


@given(st.text(max_size=40) | st.binary(max_size=30).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_any_text_is_refused(token: str) -> None:
    with pytest.raises(ProblemError):
        read_token(QUERY, token)
