"""Requests of people to the learner, as records of `ebb.examples`: their place in it decides when they take effect."""

from typing import Literal, Self
from uuid import uuid4

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ebb.errors import CorruptError
from ebb.models import ModelSnapshot, Target

PARTITION = 0
"""Partition of the examples topic in which requests lie, so that they have one order among themselves."""
_MARK = b'{"request'


class ChampionRequest(BaseModel):
    """What shall serve a target from now on, whatever the rule says; or that the rule shall decide again.

    A split lets a challenger score a share of the customers in the place of what serves, until `unsplit`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    request_id: str = Field(default_factory=lambda: uuid4().hex)
    target: Target
    action: Literal["hold", "release", "split", "unsplit"]
    candidate: str | None = None
    """Candidate to hold, or to score a share, as it goes on learning."""
    snapshot: ModelSnapshot | None = None
    """Version to hold, frozen; carried whole, so that the fold needs nothing but the topic."""
    share: float | None = Field(default=None, gt=0, lt=1)
    """Share of the customers whom the challenger of a split scores."""
    why: str = ""
    asked_at: AwareDatetime

    @model_validator(mode="after")
    def _names_what_to_hold(self) -> Self:
        given = (self.candidate is not None) + (self.snapshot is not None)
        if given != (1 if self.action in {"hold", "split"} else 0):
            message = "a hold names a candidate or carries a snapshot, a split names a candidate, others neither"
            raise ValueError(message)
        if (self.action == "split") != (self.share is not None) or (self.action == "split" and self.snapshot):
            message = "a split, and nothing else, says which share of the customers its candidate scores"
            raise ValueError(message)
        return self

    def encode(self) -> bytes:
        """Return the record's body."""
        return orjson.dumps(self.model_dump(mode="json"))

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Read a request.

        Raises
        ------
        CorruptError
            If it is not one.
        """
        try:
            return cls.model_validate(orjson.loads(body))
        except (orjson.JSONDecodeError, ValidationError) as error:
            what = f"A record of the examples topic is not a request: {error}."
            raise CorruptError(what, "Ask again by `ebb models`.") from error


def is_request(body: bytes) -> bool:
    """Tell a request from a block, which is an Arrow stream."""
    return body.startswith(_MARK)
