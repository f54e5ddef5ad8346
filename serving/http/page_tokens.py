"""Page tokens: opaque to the caller, bound to the query that they continue."""

import base64
import binascii
import hashlib

import orjson

from serving.http.problems import ProblemError

LARGEST = 2**53
LONGEST = 300
"""Characters of the id after which a page begins."""


def _digest(query: object) -> str:
    return hashlib.sha256(orjson.dumps(query, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]


def page_token(query: object, following: tuple[float, str] | None) -> str | None:
    """Return the token of the page that begins after `following`; None if there is none."""
    if following is None:
        return None
    return base64.urlsafe_b64encode(orjson.dumps([_digest(query), *following])).decode().rstrip("=")


def read_token(query: object, token: str | None) -> tuple[float, str] | None:
    """Return the position after which the page begins.

    Raises
    ------
    ProblemError
        `bad-page-token` if the token is not one of this API or was given for another query.
    """
    if token is None:
        return None
    try:
        bound, value, last = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (binascii.Error, orjson.JSONDecodeError, TypeError, ValueError):
        bound, value, last = None, None, None
    # Anybody can make a token: what is in it is text from outside.
    numeric = type(value) in {int, float} and abs(value) <= LARGEST
    if not numeric or not isinstance(last, str) or len(last) > LONGEST or bound != _digest(query):
        what = "page_token is not a token that this query was given."
        raise ProblemError(what, "Ask for the first page again, without page_token.", kind="bad-page-token")
    return float(value), last
