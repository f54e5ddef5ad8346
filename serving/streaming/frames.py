"""uvicorn's WebSocket protocol, able to write frames that were encoded once for all clients."""

from typing import cast

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

WRITER = "ebb.frames"
"""The extension in a WebSocket's scope under which `FrameProtocol.write_frames` is found."""

_BAD_HANDSHAKE = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class FrameProtocol(WebSocketsSansIOProtocol):
    """One connection.

    Through ASGI each message would be checked, encoded, framed and written again for each client: most of what a
    delivery costs. What a server sends is neither masked nor, here, compressed, so that one frame serves all clients.
    """

    def handle_connect(self, event: Request) -> None:
        """Offer the writer to the application, which runs after this."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            extensions = cast("dict[str, object]", self.scope["extensions"])
            extensions[WRITER] = self.write_frames

    def data_received(self, data: bytes) -> None:
        """Take bytes; the first are a whole handshake, and one that cannot be read would wait for more for ever."""
        super().data_received(data)
        if not self.handshake_initiated and not self.transport.is_closing():
            self.transport.write(_BAD_HANDSHAKE)
            self.transport.close()

    def handle_parser_exception(self) -> None:
        """End the connection after bytes that are no frames; before the handshake no close frame can say why."""
        if self.conn.close_sent is None:
            self.transport.close()
        else:
            super().handle_parser_exception()

    async def write_frames(self, frames: bytes) -> None:
        """Write whole frames once the socket takes more.

        Raises
        ------
        OSError
            If the connection has ended or is being closed.
        """
        await self.writable.wait()
        if self.disconnected or self.close_sent or self.transport.is_closing():
            raise ClientDisconnected
        self.transport.write(frames)
