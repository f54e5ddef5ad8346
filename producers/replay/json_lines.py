"""JSON lines, by Python's standard library, which keeps whole numbers of any length and reads `NaN`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ebb.errors import SourceError
from producers.replay.log import BLOCK, Ints, Log, RejectedRow, check_wanted, taken_from
from producers.replay.text_files import TextFile, refusing_damage

_HINT = (
    'Write one object a line, such as {"customer_id": "c-1", "occurred_at": "2026-03-01T14:05:31Z", "type": "view"}.'
)


class JsonLinesSource:
    """A file of JSON objects, one a line; it is read to know its columns.

    Raises
    ------
    SourceError
        If it is damaged, or JSON of another layout.
    """

    def __init__(self, text: TextFile) -> None:
        self._file = text.path.name
        self.words = ["JSON lines", *text.words]
        self._rows: list[int] = []
        self._lines: list[int] = []
        self._broken: list[RejectedRow] = []
        names: dict[str, None] = {}
        parts: list[pa.Array] = []
        block: list[str] = []
        count = 0
        with refusing_damage(text.path), text.open() as file:
            for number, line in enumerate(text.lines(file), 1):
                stripped = line.strip().strip("\ufeff")
                if not stripped:
                    continue
                value, reason, what = _parse(stripped)
                if value is None:
                    if not count and stripped[0] in "[{":
                        what = f"{self._file} is JSON, but not an object a line (line {number}: {what})."
                        raise SourceError(what, _HINT)
                    body = stripped.encode(errors="surrogateescape")
                    self._broken.append(RejectedRow(count, reason, what, body, number))
                else:
                    names.update(dict.fromkeys(value))
                    block.append(stripped)
                    self._rows.append(count)
                    self._lines.append(number)
                count += 1
                if len(block) == BLOCK:
                    parts.append(pa.array(block, pa.large_string()))
                    block.clear()
        parts.append(pa.array(block, pa.large_string()))
        self._texts = pa.chunked_array(parts, pa.large_string()).combine_chunks()
        self.names = list(names)

    def read(self, wanted: Sequence[str]) -> Log:
        """Return the rows, with these columns; `user.id` is `id` of the object `user`.

        Raises
        ------
        SourceError
            If no row has a column of `wanted`.
        """
        nested = [name for name in wanted if name not in self.names and name.partition(".")[0] in self.names]
        names = check_wanted(self._file, wanted, [*self.names, *nested]) if len(self._rows) else list(wanted)
        rows, lines = np.array(self._rows, np.int64), np.array(self._lines, np.int64)
        return Log(self._file, names, ObjectStore(self._texts), rows, lines, list(self._broken), list(self.words))


class ObjectStore:
    """JSON objects as text.

    Parameters
    ----------
    texts
        One object each.
    """

    def __init__(self, texts: pa.Array) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def take(self, indices: Ints, names: Sequence[str]) -> dict[str, list[Any]]:
        """Return columns of some rows as JSON's values."""
        objects = [json.loads(text) for text in taken_from(self._texts, indices)]
        taken = {}
        for name in names:
            values = [one.get(name) for one in objects]
            if "." in name:
                path = name.split(".")
                values = [
                    _at(one, path) if value is None else value for one, value in zip(objects, values, strict=True)
                ]
            taken[name] = values
        return taken

    @classmethod
    def of(cls, objects: Sequence[Mapping[str, Any]]) -> "ObjectStore":
        """Return a store of objects that are in memory."""
        return cls(pa.array([json.dumps(one) for one in objects], pa.large_string()))


def _parse(line: str) -> tuple[dict[str, Any] | None, str, str]:
    """Return the object of a line, or None with the reason and what is wrong."""
    try:
        line.encode()
        value = json.loads(line)
    except UnicodeEncodeError:
        return None, "bad_encoding", "The line holds bytes that are no characters"
    except json.JSONDecodeError as error:
        return None, "bad_json", f"{error.msg} at column {error.colno}"
    except (ValueError, RecursionError):
        return None, "bad_json", "The line holds a number of thousands of digits, or is nested too deeply"
    if not isinstance(value, dict):
        return None, "wrong_type", f"The line is not an object but {type(value).__name__}"
    return value, "", ""


def _at(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def looks_like_json(lines: Iterator[str]) -> bool:
    """Return whether the first line that is not blank begins as JSON does."""
    first = next((stripped for line in lines if (stripped := line.strip().strip("\ufeff"))), "")
    return first[:1] == "{" or first[:2] in {"[{", "["}
