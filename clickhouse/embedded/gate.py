"""Who may ask the embedded server at all: not a web page in a browser, and nobody without the password.

Decided from the head of a request alone, before its body is read or anything of its statement is looked at.
"""

import base64
import binascii
import hmac
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from clickhouse.embedded.errors import AUTHENTICATION_FAILED, EngineError
from ebb.errors import SetupError
from ebb.loopback import LOOPBACK

_OF_A_BROWSER = ("origin", "referer", "cookie", "upgrade-insecure-requests")
"""Headers that browsers send and programs do not, beside those that begin with `sec-`."""
PUBLIC = frozenset({"/ping"})
"""Paths that answer without a password: that the server is there."""


class Gate:
    """ASGI middleware that refuses whoever is not a program with the password.

    Parameters
    ----------
    user, password
        What a caller must present.

    Raises
    ------
    SetupError
        If the password is empty.
    """

    def __init__(self, app: ASGIApp, *, user: str, password: str) -> None:
        if not password:
            what = "The embedded ClickHouse does not start without a password."
            raise SetupError(what, "Set EBB_CLICKHOUSE_PASSWORD, or unset it to have that of the home used.")
        self._app = app
        self._user = user.encode()
        self._password = password.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it with 403 and close its connection, on which a body may still come."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        what = ""
        if is_from_browser(headers):
            what = "Requests from a web page are not answered"
        elif not is_loopback(headers.get("host", "")):
            what = "Only requests to a name of this machine's loopback are answered"
        elif scope["path"] not in PUBLIC and not self._knows(headers, scope["query_string"]):
            what = (
                "Authentication failed: password is incorrect, or there is no user with such name. The password is "
                "EBB_CLICKHOUSE_PASSWORD or, if that is not set, the file `password` in EBB_HOME"
            )
        if what:
            error = EngineError.of(AUTHENTICATION_FAILED, "AUTHENTICATION_FAILED", f"{what}.")
            response = PlainTextResponse(
                f"{error.text}\n",
                status_code=error.status,
                headers={"X-ClickHouse-Exception-Code": str(error.code), "Connection": "close"},
            )
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _knows(self, headers: Headers, query: bytes) -> bool:
        user, password = credentials(headers, query)
        # Both are compared whole, in a time that depends on neither.
        right_user = hmac.compare_digest(user.encode(), self._user)
        right_password = hmac.compare_digest(password.encode(), self._password)
        return right_user and right_password


def is_from_browser(headers: Headers) -> bool:
    """Return whether a request has what browsers add to every one that a page causes, and pages cannot remove."""
    agent = headers.get("user-agent", "")
    return agent.startswith("Mozilla/") or any(
        name in _OF_A_BROWSER or name.startswith("sec-")
        for name in headers.keys()  # noqa: SIM118 - not a dict
    )


def is_loopback(host: str) -> bool:
    """Return whether a `Host` is a name of this machine; a name elsewhere may have been pointed here by its owner."""
    name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if not name or not port.isdigit():
        name = host
    return name.strip("[]").lower() in LOOPBACK


def credentials(headers: Headers, query: bytes) -> tuple[str, str]:
    """Return user and password from the Basic header, ClickHouse's own headers, or the URL, as the server does."""
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(encoded).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return user, password
    given = parse_qs(query.decode("latin-1"))
    user = headers.get("x-clickhouse-user") or given.get("user", ["default"])[0]
    return user, headers.get("x-clickhouse-key") or given.get("password", [""])[0]
