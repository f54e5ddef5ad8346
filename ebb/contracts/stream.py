"""Messages of `/v1/stream`, of either side, shared by the server, the Python client and the AsyncAPI document."""

from enum import IntEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter

from ebb.contracts.scores import Alert, Band, Probability, Score

Topic = Literal["scores", "alerts"]
SUBSCRIBE_SECONDS = 5.0
"""Time in which the first message must come."""
MAX_CLIENT_BYTES = 65_536
"""Largest message accepted from a client: a subscription to a thousand customers fits."""
MAX_CUSTOMERS = 1_000
MESSAGES_PER_10_SECONDS = 20
MAX_SUBSCRIPTIONS = 16
"""Subscriptions of one connection: a client that reconnects may resume all of them at once."""
ALERTS_HELD = 1_000
"""Newest alerts that `GET /v1/alerts` returns from memory, and so what a client that was away can fetch."""

Identity = Annotated[
    str, Field(max_length=64, description="Names a subscription of the connection; empty is the unnamed one.")
]
Sequence = Annotated[int, Field(ge=0, description="Number of a message; rises within an epoch.")]


class _ClientBase(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Filter(_ClientBase):
    """Which scores and alerts to send. Parts that are given must all hold; an absent part does not filter."""

    bands: frozenset[Band] | None = None
    customers: Annotated[frozenset[str], Field(max_length=MAX_CUSTOMERS)] | None = None
    countries: frozenset[str] | None = None
    minimum: Probability | None = None
    """Least `churn`."""

    def passes(self, *, customer_id: str, band: str, churn: float, country: str | None) -> bool:
        """Return whether a score or an alert matches."""
        return (
            (self.bands is None or band in self.bands)
            and (self.minimum is None or churn >= self.minimum)
            and (self.customers is None or customer_id in self.customers)
            and (self.countries is None or country in self.countries)
        )


class _Subscription(_ClientBase):
    id: Identity = ""
    api_key: SecretStr | None = None
    topics: Annotated[frozenset[Topic], Field(min_length=1)] = frozenset({"scores", "alerts"})
    filter: Filter = Filter()
    bands: frozenset[Band] | None = None
    """Short for `filter.bands`."""

    @property
    def effective_filter(self) -> Filter:
        """The filter, with the short form merged in."""
        return self.filter if self.bands is None else self.filter.model_copy(update={"bands": self.bands})


class Subscribe(_Subscription):
    """Begin a subscription, or replace the one of the same id."""

    type: Literal["subscribe"]


class Resume(_Subscription):
    """Subscribe, and first get what was missed since `sequence` of `epoch`."""

    type: Literal["resume"]
    epoch: str
    sequence: Annotated[int, Field(ge=0)]


class Unsubscribe(_ClientBase):
    """End a subscription; the connection stays, with or without others."""

    type: Literal["unsubscribe"]
    id: Identity = ""


class Ping(_ClientBase):
    """Ask for a `pong`; for clients that cannot send a WebSocket ping, as pages in a browser."""

    type: Literal["ping"]


ClientMessage = Annotated[Subscribe | Resume | Unsubscribe | Ping, Field(discriminator="type")]
CLIENT_MESSAGE: TypeAdapter[Subscribe | Resume | Unsubscribe | Ping] = TypeAdapter(ClientMessage)


def _require_type(schema: dict[str, Any]) -> None:
    # It has a default in the model, yet is always sent.
    if "type" in schema["properties"]:
        schema["required"] = ["type", *schema.get("required", ())]


class _ServerBase(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra=_require_type)

    def text(self) -> str:
        """Return the message as it is sent: the unnamed subscription goes unnamed."""
        left_out = {"id"} if getattr(self, "id", None) == "" else None
        return self.model_dump_json(exclude=left_out, exclude_none=True)


class Subscribed(_ServerBase):
    """The subscription is active; its next message has a greater sequence."""

    type: Literal["subscribed"] = "subscribed"
    id: Identity = ""
    epoch: Annotated[str, Field(description="Names this run of this replica; sequences compare within one only.")]
    sequence: Sequence
    resumed: bool = False
    heartbeat_seconds: Annotated[float, Field(gt=0, description="Longest silence of a healthy server.")]


class Unrecoverable(_ServerBase):
    """What was missed is no longer held: fetch the current state by REST. The subscription is active from here."""

    type: Literal["unrecoverable"] = "unrecoverable"
    id: Identity = ""
    epoch: str
    sequence: Sequence
    hint: Literal["refetch"] = "refetch"
    heartbeat_seconds: Annotated[float, Field(gt=0)]


class Unsubscribed(_ServerBase):
    """The subscription has ended; no message of it follows."""

    type: Literal["unsubscribed"] = "unsubscribed"
    id: Identity = ""
    sequence: Sequence


Names = Annotated[
    list[Identity],
    Field(description="Subscriptions that the message is of; absent if it is of the unnamed one alone."),
]


class ScoreMessage(_ServerBase):
    """A customer's score has changed."""

    type: Literal["score"] = "score"
    sequence: Sequence
    subscriptions: Names | None = None
    data: Score


class AlertMessage(_ServerBase):
    """An alert was raised."""

    type: Literal["alert"] = "alert"
    sequence: Sequence
    subscriptions: Names | None = None
    data: Alert


class HeartbeatData(_ServerBase):
    """State of the server."""

    event_time: str


class Heartbeat(_ServerBase):
    """Nothing is lost up to `sequence`; resume from there."""

    type: Literal["heartbeat"] = "heartbeat"
    sequence: Sequence
    data: HeartbeatData


class Pong(_ServerBase):
    """Answers a `ping`; nothing is lost up to `sequence`."""

    type: Literal["pong"] = "pong"
    sequence: Sequence


class ErrorData(_ServerBase):
    """Why a connection is closed."""

    code: Annotated[str, Field(description="The close code that follows.")]
    detail: str


class StreamError(_ServerBase):
    """What was wrong with the client's message; the close follows."""

    type: Literal["error"] = "error"
    sequence: Sequence
    data: ErrorData


ServerMessage = Annotated[
    Subscribed | Unrecoverable | Unsubscribed | ScoreMessage | AlertMessage | Heartbeat | Pong | StreamError,
    Field(discriminator="type"),
]


class CloseCode(IntEnum):
    """Close codes of the stream; 1009 (message too big), 1011 (no pong) and 1012 (restart) are WebSocket's own."""

    SLOW = 3001
    """The client reads too slowly for its subscription. Reconnect with a narrower filter, or resume."""
    FULL = 3002
    """This replica has as many streams as it may. Reconnect later, with backoff."""
    NOT_READY = 3003
    """This replica has not read all keys yet. Reconnect in a moment."""
    GOING_AWAY = 3008
    """The server stops or restarts. Reconnect after a random part of a few seconds."""
    BAD_MESSAGE = 4400
    """A message was not JSON of the protocol. The error message before the close describes what was wrong."""
    NO_KEY = 4401
    """The API key is missing, not known, revoked or expired."""
    WRONG_SCOPE = 4402
    """The API key may not read."""
    ORIGIN = 4403
    """The page's origin is not allowed."""
    NO_SUBSCRIBE = 4408
    """No subscribe message came within the time."""
    KEY_ENDED = 4410
    """The API key of this stream was revoked or has expired. A new key opens a new stream."""
    TOO_MANY_MESSAGES = 4429
    """The client sends messages faster than a subscription needs."""


def may_reconnect(code: int) -> bool:
    """Return whether a client that was closed with a code should reconnect."""
    return not (3500 <= code < 4000 or 4400 <= code < 4500 or code in {1002, 1003, 1007, 1008, 1009, 1010})
