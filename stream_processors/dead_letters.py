"""Records that cannot be accepted, as records of the dead-letter topic and as rows of its table."""

from typing import Any

from ebb.contracts.scores import utc
from ebb.contracts.topics import MAX_MESSAGE_BYTES
from stream_processors.batch import DeadLetter

ROOM = 64 * 1024
"""Bytes of a record beside its value: the headers that say why, and those that it came with."""
DETAIL = 500
"""Most characters of the detail."""

Headers = list[tuple[str, bytes | None]]


def dead_letter_record(letter: DeadLetter, topic: str, partition: int) -> tuple[bytes | None, bytes | None, Headers]:
    """Return key, value and headers of a dead letter: the bytes as they came, the reason in the headers.

    A broker measures a batch compressed, a producer a record that is not: what came may be too large to be sent again.
    Then the value is cut, its own headers are left out, and `truncated` says how many bytes the value had.
    """
    record = letter.record
    texts = {
        "reason": letter.reason,
        "detail": letter.detail[:DETAIL],
        "stage": "decode",
        "topic": topic,
        "partition": str(partition),
        "offset": str(record.offset),
    }
    own: Headers = list(record.headers)
    key, value = record.key, record.value
    if _size(own) + len(key or b"") > ROOM // 2 or len(value or b"") > MAX_MESSAGE_BYTES - ROOM:
        texts["truncated"] = str(len(value or b""))
        own, key, value = [], (key or b"")[: ROOM // 4] or None, (value or b"")[: MAX_MESSAGE_BYTES - ROOM]
    return key, value, [*own, *((name, text.encode(errors="replace")) for name, text in texts.items())]


def _size(headers: Headers) -> int:
    return sum(len(name.encode(errors="replace")) + len(value or b"") + 16 for name, value in headers)


def dead_letter_columns(letters: list[DeadLetter], topic: str, partition: int, seen_at: float) -> dict[str, Any]:
    """Return dead letters as columns of table `dead_letters`."""
    return {
        "topic": [topic] * len(letters),
        "partition": [partition] * len(letters),
        "offset": [letter.record.offset for letter in letters],
        "stage": ["decode"] * len(letters),
        "reason": [letter.reason for letter in letters],
        "detail": [letter.detail[:DETAIL] for letter in letters],
        "size": [len(letter.record.value or b"") for letter in letters],
        "seen_at": [utc(seen_at)] * len(letters),
        "customer_id": [letter.customer_id for letter in letters],
    }
