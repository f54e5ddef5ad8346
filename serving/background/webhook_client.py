"""HTTP client for addresses chosen by users: posts only to public ones, unless others are allowed (SSRF).

The name is resolved here and the connection goes to the address that was checked, so a name that resolves to another
one a moment later (DNS rebinding) gains nothing. Redirects are not followed, and response bodies are not read.

A delivery ends within `RESPONSE_TIMEOUT_SECONDS` whatever the receiver does: a name server that is silent, an address
that leads nowhere, an answer that comes a byte a minute.
"""

import contextlib
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import chain, zip_longest
from typing import Any

import httpcore

from ebb.errors import EbbError

RESPONSE_TIMEOUT_SECONDS = 10.0
"""For all of a delivery: name, connection, TLS, request, and the head of the answer."""
CONNECT_TIMEOUT_SECONDS = 2.5
"""For one address, if there is another to try: a dead IPv6 route must not use up the time of the IPv4 one."""
LONGEST_RETRY_AFTER_SECONDS = 3_600.0
"""A receiver that asks for a longer pause gets this one."""
_GONE = 410
_FAILURES = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
)
_EMBEDDING = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("2002::/16"))
"""Networks whose addresses hold an IPv4 address, which may be a private one."""


class NotDeliveredError(EbbError):
    """A receiver did not accept a message; `final` if it never will.

    Parameters
    ----------
    retry_after
        Seconds for which it asks to be left alone (`Retry-After`), at most `LONGEST_RETRY_AFTER_SECONDS`; 0: none.
    """

    def __init__(self, what: str, *, final: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(what)
        self.final = final
        self.retry_after = retry_after


class WebhookClient:
    """Posts messages, one at a time and each over a connection of its own.

    Parameters
    ----------
    private
        Whether addresses that are not public may be posted to.
    """

    def __init__(self, *, private: bool) -> None:
        self._backend = _Backend(private)
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl.create_default_context(), max_keepalive_connections=0, network_backend=self._backend
        )

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        """Deliver one message.

        Raises
        ------
        NotDeliveredError
            If there is no response, or one that is not 2xx.
        """
        seconds = dict.fromkeys(("connect", "read", "write", "pool"), RESPONSE_TIMEOUT_SECONDS)
        self._backend.begin(RESPONSE_TIMEOUT_SECONDS)
        try:
            with self._pool.stream(
                "POST", url, headers=list(headers.items()), content=body, extensions={"timeout": seconds}
            ) as response:
                status, answered = response.status, response.headers
        except _FAILURES as error:
            what = f"It does not answer: {type(error).__name__} {error}".strip()
            raise NotDeliveredError(what) from error
        except UnicodeError as error:  # an id that no header can hold
            what = f"It cannot be sent: {error}."
            raise NotDeliveredError(what, final=True) from error
        if not 200 <= status < 300:
            what = f"It answers {status}."
            raise NotDeliveredError(what, final=status == _GONE, retry_after=retry_after(answered))

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


def retry_after(headers: Iterable[tuple[bytes, bytes]]) -> float:
    """Return the seconds for which an answer asks to be left alone, by number or by date (RFC 9110, 10.2.3).

    0 if it does not ask, or in words that are neither; at most `LONGEST_RETRY_AFTER_SECONDS`. A date counts from the
    answer's own `Date`, so that clocks need not agree.
    """
    fields = {name.lower(): value.decode("latin-1").strip() for name, value in headers}
    text = fields.get(b"retry-after", "")
    if text.isascii() and text.isdigit():
        seconds = float(text[:12])
    else:
        then = _http_date(text)
        now = _http_date(fields.get(b"date", "")) or datetime.now(UTC)
        seconds = (then - now).total_seconds() if then is not None else 0.0
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)


def _http_date(text: str) -> datetime | None:
    with contextlib.suppress(ValueError, OverflowError, IndexError, TypeError):
        parsed = parsedate_to_datetime(text)
        return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)
    return None


class _Backend(httpcore.NetworkBackend):
    """Connects to the addresses of a name in turn, until one answers."""

    def __init__(self, private: bool) -> None:
        self._private = private
        self._plain = httpcore.SyncBackend()
        self._until = 0.0
        self._resolving: threading.Thread | None = None
        self._good: dict[str, str] = {}
        """By name, the address that answered last."""

    def begin(self, seconds: float) -> None:
        """Begin a delivery, for which there are so many seconds."""
        self._until = time.monotonic() + seconds

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the delivery's own time counts
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._resolve(host, port)
        allowed = [address for address in addresses if self._private or is_public(address)]
        if not allowed:
            what = "its name leads to no public address; EBB_WEBHOOK_PRIVATE allows others"
            raise httpcore.ConnectError(what)
        for place, address in enumerate(allowed):
            last = place == len(allowed) - 1
            try:
                seconds = _left(self._until, httpcore.ConnectTimeout)
                most = seconds if last else min(seconds, CONNECT_TIMEOUT_SECONDS)
                stream = self._plain.connect_tcp(address, port, most, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if last:
                    raise
            else:
                self._good[host] = address
                return _TimedStream(stream, self._until)
        raise AssertionError

    def _resolve(self, host: str, port: int) -> list[str]:
        """Return the addresses of a name in the order in which to try them: the one that answered, then by turns."""
        if self._resolving is not None and self._resolving.is_alive():
            what = "its name has not been resolved since the last attempt"
            raise httpcore.ConnectTimeout(what)
        found: queue.SimpleQueue[list[str] | httpcore.ConnectError] = queue.SimpleQueue()
        # The system's resolver has no time-out that could be passed to it.
        self._resolving = threading.Thread(target=_look_up, args=(host, port, found), name="resolver", daemon=True)
        self._resolving.start()
        try:
            addresses = found.get(timeout=_left(self._until, httpcore.ConnectTimeout))
        except queue.Empty:
            what = "its name is not resolved in time"
            raise httpcore.ConnectTimeout(what) from None
        if isinstance(addresses, httpcore.ConnectError):
            raise addresses
        first = [address for address in addresses if address == self._good.get(host)]
        return [*first, *(address for address in _by_turns(addresses) if address not in first)]


def _look_up(host: str, port: int, found: "queue.SimpleQueue[list[str] | httpcore.ConnectError]") -> None:
    try:
        resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        found.put([str(entry[4][0]) for entry in resolved])
    except (OSError, UnicodeError) as error:
        found.put(httpcore.ConnectError(str(error)))


def _by_turns(addresses: Sequence[str]) -> list[str]:
    """Return addresses with the two families by turns, that of the first one first (RFC 8305)."""
    families: dict[bool, list[str]] = {}
    for address in addresses:
        families.setdefault(":" in address, []).append(address)
    return [address for address in chain.from_iterable(zip_longest(*families.values())) if address is not None]


class _TimedStream(httpcore.NetworkStream):
    """A connection whose reads and writes all end when the delivery's time is up, however they drip."""

    def __init__(self, stream: httpcore.NetworkStream, until: float) -> None:
        self._stream = stream
        self._until = until

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(max_bytes, _left(self._until, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._stream.write(buffer, _left(self._until, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        seconds = _left(self._until, httpcore.ConnectTimeout)
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, seconds), self._until)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(until: float, late: type[httpcore.TimeoutException]) -> float:
    """Return the seconds that are left; raise if there are none."""
    seconds = until - time.monotonic()
    if seconds <= 0:
        what = f"not within {RESPONSE_TIMEOUT_SECONDS:g} s"
        raise late(what)
    return seconds


def is_public(address: str) -> bool:
    """Return whether an address is public: on the internet, not in a local or private network."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return is_public(str(parsed.ipv4_mapped))
        if any(parsed in network for network in _EMBEDDING):
            return False
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved
