"""Where alerts are sent besides the streams, and how such a message is made and signed.

Signed by the Standard Webhooks scheme, version 1: `webhook-signature` is `v1,` and the base64 of HMAC-SHA256 over
`<id>.<timestamp>.<body>`, so that a receiver can verify who sent a message, that it was not changed, and how old it is.
"""

import base64
import binascii
import hmac
import secrets
import time
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ebb.contracts.scores import Band

SECRET_PREFIX = "whsec_"  # noqa: S105 - how the scheme marks a secret


class Webhook(BaseModel):
    """One receiver of alerts."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(pattern=r"^[a-z0-9-]{1,40}$")
    """Names it in logs, metrics and consumer groups; its URL may be a secret and is shown nowhere."""
    url: str = Field(max_length=2_000)
    kind: Literal["standard", "slack"] = "standard"
    """`standard`: the alert as JSON, signed. `slack`: a line of text, as Slack's incoming webhooks take it."""
    secret: str = ""
    """`whsec_` and the base64 of 24 to 64 random bytes; `ebb webhooks secret` makes one."""
    bands: tuple[Band, ...] = (Band.HIGH, Band.CRITICAL)
    """Alerts that lead to one of these bands are sent."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        try:
            url = urlsplit(self.url)
            usable = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
        except ValueError:
            usable = False
        if not usable or url.username is not None:
            message = f"the url of webhook {self.name} must be http:// or https:// with a host and without a user"
            raise ValueError(message)
        if self.kind == "standard" and not 24 <= len(secret_bytes(self.secret)) <= 64:
            message = f"webhook {self.name} needs a secret: {SECRET_PREFIX} and the base64 of 24 to 64 bytes"
            raise ValueError(message)
        return self


def make_secret() -> str:
    """Return a new secret to sign with."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def secret_bytes(secret: str) -> bytes:
    """Return the key that a secret encodes; empty if it is none."""
    try:
        return base64.b64decode(secret.removeprefix(SECRET_PREFIX).encode(), validate=True)
    except binascii.Error:
        return b""


def message(webhook: Webhook, alert: dict[str, Any]) -> bytes:
    """Return the body of an alert for a receiver."""
    if webhook.kind == "slack":
        return orjson.dumps({"text": _line(alert)})
    return orjson.dumps({"type": "alert.band", "timestamp": alert["raised_at"], "data": alert})


def headers(webhook: Webhook, identity: str, body: bytes, *, now: float | None = None) -> dict[str, str]:
    """Return the headers of a message; the id is the same at each attempt, the time and the signature are not."""
    found = {"Content-Type": "application/json", "User-Agent": "Ebb"}
    if webhook.kind == "slack":
        return found
    moment = str(int(time.time() if now is None else now))
    signature = sign(webhook.secret, identity, moment, body)
    return {**found, "Webhook-Id": identity, "Webhook-Timestamp": moment, "Webhook-Signature": signature}


def sign(secret: str, identity: str, moment: str, body: bytes) -> str:
    """Return the signature of a message.

    Parameters
    ----------
    moment
        Unix seconds, as in the header.
    """
    signed = f"{identity}.{moment}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret_bytes(secret), signed, "sha256")).decode()


def _line(alert: dict[str, Any]) -> str:
    text = f"{alert['customer_id']}: {alert['why']} Value at risk: {alert['value_at_risk']:,.2f}."
    for sign_, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign_, entity)
    return text
