"""API keys: their format, what is stored of them, and their scopes.

A key is `ebb_<id>_<secret>`. The secret is 256 random bits, so there is nothing to guess: a slow password hash would
buy no safety and cost every request its time. Stored is HMAC-SHA256 of the secret under the id, so that a digest copied
to another record opens nothing; the secret itself is shown once, when the key is made.
"""

import hmac
import secrets
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

PREFIX = "ebb"


class Scope(StrEnum):
    """What a key authorizes."""

    READ = "read"
    """Scores, alerts, history, the streams."""
    ACT = "act"
    """What `read` authorizes, and acknowledging, snoozing and closing alerts."""
    WRITE = "write"
    """Sending activity through the collector; nothing can be read with it, so a web page may hold it."""
    ADMIN = "admin"
    """Everything, erasure of customers included."""


class KeyRecord(BaseModel):
    """A key: a record of `ebb.keys`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    name: Annotated[str, Field(min_length=1, max_length=100)]
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None

    def fits(self, secret: str) -> bool:
        """Return, in constant time, whether a secret is this key's."""
        return hmac.compare_digest(self.digest, digest(self.id, secret))

    def ended(self, now: datetime) -> str | None:
        """Return `revoked` or `expired` if the key opens nothing any more."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else None


def make_key(name: str, scopes: list[Scope], expires_at: datetime | None = None) -> tuple[KeyRecord, str]:
    """Return the record of a new key, and the key itself, which is stored nowhere."""
    identity, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    record = KeyRecord(
        id=identity,
        name=name,
        scopes=tuple(sorted(set(scopes))),
        digest=digest(identity, secret),
        created_at=datetime.now(UTC),
        expires_at=expires_at,
    )
    return record, f"{PREFIX}_{identity}_{secret}"


def split_key(text: str) -> tuple[str, str] | None:
    """Return id and secret of a key, None if the text has not the form of one."""
    prefix, _, rest = text.partition("_")
    identity, _, secret = rest.partition("_")
    return (identity, secret) if prefix == PREFIX and identity and secret else None


def digest(identity: str, secret: str) -> str:
    """Return the digest that is stored of a secret, in hexadecimal digits."""
    return hmac.digest(f"ebb key {identity}".encode(), secret.encode(), "sha256").hex()
