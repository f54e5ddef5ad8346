"""Why the server closes a stream, and whether to come back: 3000-3499 yes, 3500-3999 and 44xx no."""

from enum import IntEnum


class CloseCode(IntEnum):
    """Codes of ours; 1009 (message too big), 1011 (no pong) and 1012 (restart) are the protocol's own."""

    SLOW = 3001
    """The client reads too slowly for its subscription. Come back with a narrower filter, or resume."""
    FULL = 3002
    """This replica has as many streams as it may. Come back later, with backoff."""
    NOT_READY = 3003
    """This replica has not read all keys yet. Come back in a moment."""
    GOING_AWAY = 3008
    """The server stops or restarts. Come back at once, after a random part of a few seconds."""
    BAD_MESSAGE = 4400
    """A message was not JSON of the protocol. The error message before the close says what was wrong."""
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
    """Say whether a client that was closed with a code should connect again."""
    return not (3500 <= code < 4000 or 4400 <= code < 4500 or code in {1002, 1003, 1007, 1008, 1009, 1010})
