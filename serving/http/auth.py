"""Authentication and authorization: API keys and their scopes, hosts, origins, rate limits."""

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from fastapi.security.utils import get_authorization_scheme_param
from starlette.requests import HTTPConnection

from ebb.contracts.api_keys import Scope, split_key
from ebb.errors import UnavailableError
from ebb.loopback import LOOPBACK
from ebb.settings import Settings
from serving.http.problems import ProblemError
from serving.http.rate_limit import Quota, RateLimiter
from serving.http.waiting import network_of
from serving.projections.api_keys import ApiKeyView

REFUSALS_A_MINUTE = 60
"""Wrong keys that one network (`network_of`) may present before it is rate-limited; a right key is accepted all the
same."""
PRINCIPAL, QUOTAS = "ebb.principal", "ebb.quotas"
"""Keys of a request's scope: who sent it, and the quotas that it counts against."""
_bearer = HTTPBearer(auto_error=False, description="The API key, as a bearer token.")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="The API key.")
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="ebb"'}


_GRANTED_BY: dict[Scope, frozenset[Scope]] = {
    # To handle an alert a caller must see it.
    Scope.READ: frozenset({Scope.READ, Scope.ACT, Scope.ADMIN}),
    Scope.ACT: frozenset({Scope.ACT, Scope.ADMIN}),
    Scope.WRITE: frozenset({Scope.WRITE, Scope.ADMIN}),
    Scope.ADMIN: frozenset({Scope.ADMIN}),
}


@dataclass(frozen=True)
class Principal:
    """An authenticated caller. The id names the key and reveals nothing of its secret."""

    id: str
    name: str
    scopes: frozenset[Scope]
    expires_at: datetime | None = None

    def allows(self, scope: Scope) -> bool:
        """Return whether a scope is granted; `admin` grants all, `act` grants `read`."""
        return bool(self.scopes & _GRANTED_BY[scope])


LOCAL_PRINCIPAL = Principal("loopback", "no key", frozenset(Scope))
"""The caller where no key is required: this machine."""


class Authenticator:
    """Checks of key, scope, host, origin and rate. Keys are held as digests and compared in constant time.

    Parameters
    ----------
    api_keys
        The keys made by `ebb keys`; those of the settings are added and may do everything.
    complete
        Whether all keys have been read: until then, a key cannot be refused as unknown.
    """

    def __init__(
        self,
        settings: Settings,
        api_keys: ApiKeyView | None = None,
        *,
        complete: Callable[[], bool] = lambda: True,
    ) -> None:
        self.api_keys = api_keys or ApiKeyView()
        self._complete = complete
        self._digests = [hashlib.sha256(key.encode()).digest() for key in settings.api_keys]
        # Settings refuse to leave loopback without keys; were they made otherwise, nobody would be admitted.
        self._needs_key = bool(self._digests) or settings.require_key or settings.api_host not in LOOPBACK
        self._origins = frozenset(origin.rstrip("/").lower() for origin in settings.allowed_origins)
        self._hosts = LOOPBACK | {urlsplit(origin).hostname or "" for origin in self._origins}
        self._requests = RateLimiter("requests", settings.rate_limit_requests)
        self._events = RateLimiter("events", settings.rate_limit_events)
        self._refusals = RateLimiter("refusals", REFUSALS_A_MINUTE)

    @property
    def needs_key(self) -> bool:
        """Whether a key is required."""
        return self._needs_key

    def authenticate(self, key: str | None, scope: Scope, address: str = "") -> Principal:
        """Authenticate a caller by key and check that its scope is granted.

        Raises
        ------
        ProblemError
            `no-key`, `wrong-key`, `ended-key`, `wrong-scope`; `too-many-requests` after too many of these.
        UnavailableError
            If the key may be one that this replica has not read yet.
        """
        if not self._needs_key:
            return LOCAL_PRINCIPAL
        try:
            principal = self._identify(key)
            if principal.allows(scope):
                return principal
            what = f"Key {principal.id} ({principal.name}) has not the scope {scope.value!r} that this asks for."
            raise ProblemError(what, "Use a key made with that scope.", kind="wrong-scope")
        except ProblemError:
            self._check(self._refusals.take(network_of(address)), "keys that were refused")
            raise

    def count_request(self, principal: Principal) -> list[tuple[str, Quota]]:
        """Count a request; return the policies and the remaining quota for its headers.

        Raises
        ------
        ProblemError
            `too-many-requests`.
        """
        return self._count(self._requests, principal, 1, "requests")

    def count_events(self, principal: Principal, events: int) -> list[tuple[str, Quota]]:
        """Count events of a request, as `count_request` does."""
        return self._count(self._events, principal, events, "events")

    async def until_ended(self, principal: Principal) -> None:
        """Wait until a principal's key is revoked or expires; for ever if it never does."""
        left = None if principal.expires_at is None else (principal.expires_at - datetime.now(UTC)).total_seconds()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left):
                await self.api_keys.ended(principal.id).wait()

    def has_ended(self, principal: Principal) -> bool:
        """Return whether a principal's key was revoked or has expired."""
        expired = principal.expires_at is not None and principal.expires_at <= datetime.now(UTC)
        return expired or self.api_keys.ended(principal.id).is_set()

    def serves_host(self, host: str | None) -> bool:
        """Return whether a request for a `Host` is answered.

        Without keys only loopback names are: a page elsewhere whose name is made to point here (DNS rebinding) would
        otherwise be of the same origin as the API.
        """
        return self.needs_key or (_hostname(host) or "") in self._hosts

    def allows_origin(self, origin: str | None, host: str | None) -> bool:
        """Return whether a page of an origin may open a stream or change data; programs send no origin."""
        if origin is None:
            return True
        origin = origin.rstrip("/").lower()
        _, _, authority = origin.partition("://")
        return origin in self._origins or (authority != "" and authority == (host or "").lower())

    @property
    def origins(self) -> Iterable[str]:
        """Origins named in the settings."""
        return sorted(self._origins)

    def _identify(self, key: str | None) -> Principal:
        hint = "Send it as Authorization: Bearer <key>."
        if not key:
            what = "This API asks for a key."
            raise ProblemError(what, hint, kind="no-key", headers=_CHALLENGE)
        presented = hashlib.sha256(key.encode()).digest()
        # No early exit: the time must not reveal which key was close.
        if sum(hmac.compare_digest(presented, digest) for digest in self._digests):
            return Principal(f"settings-{presented.hex()[:8]}", "EBB_API_KEYS", frozenset(Scope))
        record = self.api_keys.find(key)
        if record is None:
            if split_key(key) and not self._complete():
                what = "The keys are still being read from Kafka."
                raise UnavailableError(what, "Ask again in a moment.")
            what = "The API key is not known."
            raise ProblemError(what, hint, kind="wrong-key", headers=_CHALLENGE)
        if why := record.ended(datetime.now(UTC)):
            what, hint = f"Key {record.id} ({record.name}) was {why}.", "Make another by `ebb keys create`."
            raise ProblemError(what, hint, kind="ended-key", headers=_CHALLENGE)
        return Principal(record.id, record.name, frozenset(record.scopes), record.expires_at)

    def _count(self, limiter: RateLimiter, principal: Principal, units: int, what: str) -> list[tuple[str, Quota]]:
        if not self._needs_key:
            return []
        quota = limiter.take(principal.id, units)
        self._check(quota, what)
        return [(limiter.header, quota)]

    def _check(self, quota: Quota, what: str) -> None:
        if not quota.allowed:
            description = f"There were more {what} than this replica takes in a minute."
            headers = {"Retry-After": str(quota.retry_after), "RateLimit": quota.header}
            raise ProblemError(
                description, f"Ask again in {quota.retry_after} s.", kind="too-many-requests", headers=headers
            )


def _hostname(host: str | None) -> str | None:
    try:
        return urlsplit(f"//{host or ''}").hostname
    except ValueError:
        return None


def presented_key(connection: HTTPConnection) -> str | None:
    """Return the key that a request presents: its bearer token, else its `X-API-Key`."""
    scheme, token = get_authorization_scheme_param(connection.headers.get("authorization"))
    if token and scheme.lower() == "bearer":
        return token
    return connection.headers.get("x-api-key")


def authorize(connection: HTTPConnection, key: str | None, scope: Scope) -> Principal:
    """Authenticate a request by its key, count it, and set its principal and quotas in its scope.

    Raises
    ------
    ProblemError, UnavailableError
        As `Authenticator.authenticate` and `Authenticator.count_request`.
    """
    authenticator: Authenticator = connection.app.state.context.authenticator
    principal = authenticator.authenticate(key, scope, connection.client.host if connection.client else "")
    connection.scope[PRINCIPAL] = principal
    connection.scope[QUOTAS] = authenticator.count_request(principal)
    return principal


class Requires:
    """The dependency that a request whose key has a scope is authorized.

    A `GuardedRoute` finds it among its dependencies and authorizes before anything else; what is left here is to name
    the principal, and to document the key.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(
        self,
        connection: HTTPConnection,
        bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None,
        header: Annotated[str | None, Security(_header)] = None,
    ) -> Principal:
        """Return the principal."""
        admitted: Principal | None = connection.scope.get(PRINCIPAL)
        return admitted or authorize(connection, bearer.credentials if bearer else header, self.scope)


RequiresRead = Depends(Requires(Scope.READ))
ActPrincipal = Annotated[Principal, Depends(Requires(Scope.ACT))]
"""The caller who handles an alert."""
AdminPrincipal = Annotated[Principal, Depends(Requires(Scope.ADMIN))]
"""The caller of an admin action."""
