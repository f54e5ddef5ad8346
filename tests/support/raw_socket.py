"""A WebSocket client that sends whatever bytes it is given."""

import contextlib
import socket
import struct
from typing import Self

_HANDSHAKE = (
    b"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class RawSocket:
    """A connection whose handshake has been made."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.sendall(_HANDSHAKE)
        self._received = b""
        while b"\r\n\r\n" not in self._received:
            self._received += self._socket.recv(4_096)
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        assert b" 101 " in head.splitlines()[0], head

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._socket.close()

    def send(self, frames: bytes) -> bool:
        """Send bytes; False if the server takes no more."""
        try:
            self._socket.sendall(frames)
        except OSError:
            return False
        return True

    def end(self, seconds: float = 10.0) -> int | None:
        """Read until the server closes; return the code of its close frame, None if it sent none.

        Nothing more is sent once that frame is there, for whose answer the server would wait, nor once `seconds` have
        passed, in which it may wait for the rest of a frame.
        """
        for wait in (seconds, 20.0):
            self._socket.settimeout(wait)
            try:
                while data := self._socket.recv(65_536):
                    self._received += data
                    if self._code() is not None:
                        self._finish_sending()
                return self._code()
            except TimeoutError:
                self._finish_sending()
            except ConnectionError:
                return self._code()
        what = "the server holds a connection whose client has nothing more to say"
        raise AssertionError(what)

    def _finish_sending(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def _code(self) -> int | None:
        """Return the code of the first close frame that is there whole."""
        with contextlib.suppress(struct.error):
            return self._first_code()
        return None

    def _first_code(self) -> int | None:
        index = 0
        while index + 2 <= len(self._received):
            first, size = self._received[index], self._received[index + 1]
            index += 2
            if size == 126:
                (size,) = struct.unpack_from("!H", self._received, index)
                index += 2
            elif size == 127:
                (size,) = struct.unpack_from("!Q", self._received, index)
                index += 8
            if first & 0x0F == 8:
                code: int = struct.unpack_from("!H", self._received, index)[0] if size >= 2 else 1005
                return code
            index += size
        return None
