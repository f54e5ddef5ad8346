"""Who may ask: API keys, hosts, origins."""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from starlette.requests import HTTPConnection

from ebb.settings import Settings
from serving.problems import ProblemError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_bearer = HTTPBearer(auto_error=False, description="The API key, as a bearer token.")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="The API key.")


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


class Door:
    """Decides by key, host and origin. Keys are held as digests and compared in constant time."""

    def __init__(self, settings: Settings) -> None:
        self._digests = [hashlib.sha256(key.encode()).digest() for key in _listed(settings.api_keys)]
        self._origins = frozenset(origin.rstrip("/").lower() for origin in _listed(settings.allowed_origins))
        self._hosts = LOOPBACK | {urlsplit(origin).hostname or "" for origin in self._origins}

    @property
    def needs_key(self) -> bool:
        """Whether a key must be shown."""
        return bool(self._digests)

    def opens_to(self, key: str | None) -> bool:
        """Say whether a key (or none) lets in."""
        if not self._digests:
            return True
        shown = hashlib.sha256((key or "").encode()).digest()
        # No early end: the time must not tell which key was close.
        return sum(hmac.compare_digest(shown, digest) for digest in self._digests) > 0

    def serves_host(self, host: str | None) -> bool:
        """Say whether a request for a `Host` is answered.

        Without keys only loopback names are: a page elsewhere whose name is made to point here (DNS rebinding) would
        otherwise be of the same origin as the API.
        """
        return self.needs_key or (urlsplit(f"//{host or ''}").hostname or "") in self._hosts

    def allows_origin(self, origin: str | None, host: str | None) -> bool:
        """Say whether a page of an origin may open a stream; programs that are no browser send none."""
        if origin is None:
            return True
        origin = origin.rstrip("/").lower()
        return origin in self._origins or (origin != "null" and urlsplit(origin).netloc == (host or "").lower())

    @property
    def origins(self) -> Iterable[str]:
        """Origins named in the settings."""
        return sorted(self._origins)


def require_key(
    connection: HTTPConnection,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None,
    header: Annotated[str | None, Security(_header)] = None,
) -> None:
    """Let a request in by its key.

    Raises
    ------
    ProblemError
        `no-key` or `wrong-key`.
    """
    door: Door = connection.app.state.context.door
    key = bearer.credentials if bearer else header
    if door.opens_to(key):
        return
    kind, what = ("wrong-key", "The API key is not known.") if key else ("no-key", "This API asks for a key.")
    hint = "Send it as Authorization: Bearer <key>."
    raise ProblemError(what, hint, kind=kind, headers={"WWW-Authenticate": 'Bearer realm="ebb"'})


Keyed = Depends(require_key)
