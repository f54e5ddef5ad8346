"""Page tokens: opaque to the caller, bound to the query that they continue."""

import base64
import binascii
import hashlib

import orjson

from serving.http.problems import ProblemError


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
        value = float(value)
    except (binascii.Error, orjson.JSONDecodeError, TypeError, ValueError):
        bound, value, last = None, 0.0, None
    if not isinstance(last, str) or bound != _digest(query):
        what = "page_token is not a token that this query was given."
        raise ProblemError(what, "Ask for the first page again, without page_token.", kind="bad-page-token")
    return value, last
