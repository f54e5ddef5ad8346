"""HTTP client for addresses chosen by users: posts only to public ones, unless others are allowed (SSRF).

The name is resolved here and the connection goes to the address that was checked, so a name that resolves to another
one a moment later (DNS rebinding) gains nothing. Redirects are not followed, and response bodies are not read.
"""

import ipaddress
import socket
import ssl
from collections.abc import Iterable, Mapping
from typing import Any

import httpcore

from ebb.errors import EbbError

RESPONSE_TIMEOUT_SECONDS = 10.0
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
    """A receiver did not accept a message; `final` if it never will."""

    def __init__(self, what: str, *, final: bool = False) -> None:
        super().__init__(what)
        self.final = final


class WebhookClient:
    """Posts messages, each over a connection of its own.

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
            If there is no response, or one that is not 2xx.
        """
        seconds = dict.fromkeys(("connect", "read", "write", "pool"), RESPONSE_TIMEOUT_SECONDS)
        try:
            with self._pool.stream(
                "POST", url, headers=list(headers.items()), content=body, extensions={"timeout": seconds}
            ) as response:
                status = response.status
        except _FAILURES as error:
            what = f"It does not answer: {type(error).__name__} {error}".strip()
            raise NotDeliveredError(what) from error
        if not 200 <= status < 300:
            what = f"It answers {status}."
            raise NotDeliveredError(what, final=status == _GONE)

    def close(self) -> None:
        """Close the connections."""
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
            resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from error
        addresses = [str(entry[4][0]) for entry in resolved]
        allowed = [address for address in addresses if self._private or is_public(address)]
        if not allowed:
            what = "its name leads to no public address; EBB_WEBHOOK_PRIVATE allows others"
            raise httpcore.ConnectError(what)
        return self._plain.connect_tcp(allowed[0], port, timeout, local_address, socket_options)


def is_public(address: str) -> bool:
    """Return whether an address is public: on the internet, not in a local or private network."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return is_public(str(parsed.ipv4_mapped))
        if any(parsed in network for network in _EMBEDDING):
            return False
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved
