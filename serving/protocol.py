"""What a client of `/v1/stream` may say, and the control messages it is answered."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter

from ebb.messages import Band, Probability

Topic = Literal["scores", "alerts"]
SUBSCRIBE_SECONDS = 5.0
"""Time in which the first message must come."""
MAX_CLIENT_BYTES = 65_536
"""Largest message accepted from a client: a subscription to a thousand customers fits."""
MAX_CUSTOMERS = 1_000
MESSAGES_PER_10_SECONDS = 20


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Filter(_Said):
    """Which scores and alerts to send. Parts that are given must all hold; an absent part does not filter."""

    bands: frozenset[Band] | None = None
    customers: Annotated[frozenset[str], Field(max_length=MAX_CUSTOMERS)] | None = None
    countries: frozenset[str] | None = None
    minimum: Probability | None = None
    """Least `churn`."""


class _Subscription(_Said):
    api_key: SecretStr | None = None
    topics: Annotated[frozenset[Topic], Field(min_length=1)] = frozenset({"scores", "alerts"})
    filter: Filter = Filter()
    bands: frozenset[Band] | None = None
    """Short for `filter.bands`."""

    @property
    def wanted(self) -> Filter:
        """The filter, with the short form taken in."""
        return self.filter if self.bands is None else self.filter.model_copy(update={"bands": self.bands})


class Subscribe(_Subscription):
    """Begin, or replace, the subscription of this connection."""

    type: Literal["subscribe"]


class Resume(_Subscription):
    """Subscribe, and first get what was missed since `sequence` of `epoch`."""

    type: Literal["resume"]
    epoch: str
    sequence: Annotated[int, Field(ge=0)]


Said = Annotated[Subscribe | Resume, Field(discriminator="type")]
SAID: TypeAdapter[Subscribe | Resume] = TypeAdapter(Said)


class Subscribed(BaseModel):
    """The subscription stands; what comes next has a greater sequence."""

    type: Literal["subscribed"] = "subscribed"
    epoch: str
    """Names this run of this replica; sequences compare within one epoch only."""
    sequence: int
    resumed: bool = False


class Unrecoverable(BaseModel):
    """What was missed is not held any more: fetch the present state by REST. The subscription stands from here."""

    type: Literal["unrecoverable"] = "unrecoverable"
    epoch: str
    sequence: int
    hint: Literal["refetch"] = "refetch"


class Heartbeat(BaseModel):
    """Nothing is lost up to `sequence`; resume from there."""

    type: Literal["heartbeat"] = "heartbeat"
    sequence: int
    data: dict[str, str]


class StreamError(BaseModel):
    """What was wrong with the client's message; the close follows."""

    type: Literal["error"] = "error"
    sequence: int
    data: dict[str, str]
