"""One message on its way to the streams."""

import orjson
from websockets.frames import Frame, Opcode

from ebb.contracts.stream import Filter, Topic
from serving.projections.alerts import AlertFields
from serving.projections.scores import ScoreChange

UNNAMED: tuple[str, ...] = ("",)
"""The names of a client's subscriptions if it has only one, without a name."""
_FRAMES_CACHED = 4
"""Frames of one message that are cached: clients of one program name their subscriptions alike."""


class StreamMessage:
    """A score or an alert with its sequence; encoded once, however many clients it goes to."""

    __slots__ = ("_frames", "band", "body", "churn", "country", "customer_id", "sequence", "topic")

    def __init__(
        self, topic: Topic, *, customer_id: str, band: str, churn: float, country: str | None, body: bytes
    ) -> None:
        self.topic = topic
        self.customer_id = customer_id
        self.band = band
        self.churn = churn
        self.country = country
        self.body = body
        self.sequence = 0
        """Set by the hub."""
        self._frames: dict[tuple[str, ...], bytes] = {}

    @classmethod
    def of_score(cls, change: ScoreChange) -> "StreamMessage":
        """Make the message of a score."""
        fields = change.fields
        return cls(
            "scores",
            customer_id=fields.customer_id,
            band=fields.band,
            churn=fields.churn,
            country=fields.country,
            body=change.body,
        )

    @classmethod
    def of_alert(cls, alert: AlertFields, body: bytes) -> "StreamMessage":
        """Make the message of an alert."""
        return cls(
            "alerts",
            customer_id=alert.customer_id,
            band=alert.band,
            churn=alert.churn,
            country=alert.country,
            body=body,
        )

    @property
    def type(self) -> str:
        """The message's `type`: score or alert."""
        return "score" if self.topic == "scores" else "alert"

    def frame(self, names: tuple[str, ...] = UNNAMED) -> bytes:
        """Return the message as the WebSocket frame for clients whose subscriptions of these names it matches."""
        frame = self._frames.get(names)
        if frame is None:
            frame = framed(self.text(names))
            if len(self._frames) < _FRAMES_CACHED:
                self._frames[names] = frame
        return frame

    def text(self, names: tuple[str, ...] = UNNAMED) -> bytes:
        """Return the message as JSON, with the names of its subscriptions unless it is the unnamed one alone."""
        of = b"" if names == UNNAMED else b'"subscriptions":%b,' % orjson.dumps(names)
        return b'{"type":"%b","sequence":%d,%b"data":%b}' % (self.type.encode(), self.sequence, of, self.body)

    def passes(self, filter_: Filter) -> bool:
        """Return whether the message passes a filter."""
        return filter_.passes(customer_id=self.customer_id, band=self.band, churn=self.churn, country=self.country)


def framed(text: bytes) -> bytes:
    """Return a text as a frame of the WebSocket protocol; what a server sends is the same for all clients."""
    return Frame(Opcode.TEXT, text).serialize(mask=False)
