"""Posting to addresses that somebody else chose: never, unless allowed, to one that is not public.

The name is resolved here and the connection goes to the very address that was checked, so a name that answers otherwise
a moment later (DNS rebinding) gains nothing. Redirects are not followed, and answers are not read.
"""

import ipaddress
import socket
import ssl
from collections.abc import Iterable, Mapping
from typing import Any

import httpcore

from ebb.errors import EbbError

ANSWER_SECONDS = 10.0
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
    """A receiver did not take a message; `final` if it never will."""

    def __init__(self, what: str, *, final: bool = False) -> None:
        super().__init__(what)
        self.final = final


class WebhookClient:
    """Posts messages. Keeps no connection for longer than a message.

    Parameters
    ----------
    private
        Whether addresses that are not public may be posted to.
    """

    def __init__(self, *, private: bool) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl.create_default_context(), max_keepalive_connections=0, network_backend=_Backend(private)
        )

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        """Deliver one message.

        Raises
        ------
        NotDeliveredError
            If there is no answer, or one that is not 2xx.
        """
        seconds = dict.fromkeys(("connect", "read", "write", "pool"), ANSWER_SECONDS)
        try:
            with self._pool.stream(
                "POST", url, headers=list(headers.items()), content=body, extensions={"timeout": seconds}
            ) as response:
                status = response.status
        except (
            httpcore.TimeoutException,
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.UnsupportedProtocol,
        ) as error:
            what = f"It does not answer: {type(error).__name__} {error}".strip()
            raise NotDeliveredError(what) from error
        if not 200 <= status < 300:
            what = f"It answers {status}."
            raise NotDeliveredError(what, final=status == _GONE)

    def close(self) -> None:
        """Let the connections go."""
        self._pool.close()


class _Backend(httpcore.NetworkBackend):
    def __init__(self, private: bool) -> None:
        self._private = private
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from error
        addresses = [str(one[4][0]) for one in found]
        allowed = [address for address in addresses if self._private or is_public(address)]
        if not allowed:
            what = "its name leads to no public address; EBB_WEBHOOK_PRIVATE allows others"
            raise httpcore.ConnectError(what)
        return self._plain.connect_tcp(allowed[0], port, timeout, local_address, socket_options)


def is_public(address: str) -> bool:
    """Say whether an address is one of the internet, by which no machine of one's own network is reached."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        if any(found in network for network in _EMBEDDING):
            return False
    return found.is_global and not found.is_multicast and not found.is_reserved
