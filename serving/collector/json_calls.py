"""The JSON of a request → its calls, so that one call that cannot be read costs itself and not its batch."""

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from serving.collector.unpack import MalformedError

SPLIT_BYTES = 1 << 20
"""Largest body that is searched for the one call that makes it no JSON: a third of a second of work."""
_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = (b"\xff\xfe", b"\xfe\xff")
_STRUCTURE = re.compile(rb'"(?:[^"\\]++|\\.)*+"|["\[\]{},]', re.DOTALL)
"""A string as a whole, or a mark outside any; a quotation mark alone begins a string that has no end."""
_OPENS_LIST = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*\[")


@dataclass(frozen=True)
class UnreadableCall:
    """A call of a batch that is no JSON, and why."""

    why: str


def parse_body(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a request. A byte order mark before it is passed over.

    Whole numbers of any length keep their digits. If the body is a batch of which some call is no JSON (NaN, half a
    character, nested too deeply), that call is an `UnreadableCall`.

    Raises
    ------
    MalformedError
        If it is no JSON object.
    """
    body = body.removeprefix(_BOM)
    if body.startswith(_OTHER_BOMS):
        what = "The body is UTF-16; JSON is sent as UTF-8."
        raise MalformedError(what)
    value, why = _decode(body)
    if why is not None:
        split = _split(body) if len(body) <= SPLIT_BYTES else None
        if split is None:
            what = f"The body is not JSON: {why}."
            raise MalformedError(what)
        value = split
    if not isinstance(value, dict):
        what = "The body is not a JSON object."
        raise MalformedError(what)
    return value


def _decode(text: bytes) -> tuple[Any, str | None]:
    """Return the value of JSON, or why it is none."""
    try:
        return msgspec.json.decode(text), None
    except RecursionError:
        return None, "it is nested too deeply"
    except UnicodeDecodeError as error:
        return None, f"byte {error.start} is no UTF-8"
    except msgspec.DecodeError as error:
        return None, str(error).removeprefix("JSON is malformed: ") or "it cannot be read"


def _split(body: bytes) -> dict[str, Any] | None:
    """Read a batch call by call; None if what is around its calls is no JSON object either."""
    depth, opens, begin, end = 0, -1, -1, -1
    parts: list[bytes] = []
    inside = False
    for found in _STRUCTURE.finditer(body):
        mark = body[found.start()]
        if mark == ord('"'):
            if found.end() - found.start() == 1:
                return None
            if depth == 1 and end < 0 and found[0] == b'"batch"' and (list_ := _OPENS_LIST.match(body, found.end())):
                opens = list_.end() - 1
        elif mark in b"[{":
            depth += 1
            if found.start() == opens:
                inside, begin = True, found.end()
                start = begin
        elif mark in b"]}":
            depth -= 1
            if inside and depth == 1:
                inside, end = False, found.start()
                parts.append(body[start:end])
        elif inside and depth == 2:
            parts.append(body[start : found.start()])
            start = found.end()
    if end < 0:
        return None
    around, why = _decode(body[:begin] + body[end:])
    if why is not None or not isinstance(around, dict):
        return None
    if len(parts) == 1 and not parts[0].strip():
        parts = []
    around["batch"] = [_call(part) for part in parts]
    return around


def _call(text: bytes) -> Any:
    value, why = _decode(text)
    return value if why is None else UnreadableCall(why)
