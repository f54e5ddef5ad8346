"""Lists as CSV, streamed, safe to open in a spreadsheet."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from starlette.responses import Response, StreamingResponse

CSV = "text/csv"
IN_OPENAPI: dict[str, Any] = {CSV: {"schema": {"type": "string"}}}
CSV_ROUTE: dict[str, Any] = {"response_class": Response, "responses": {200: {"content": IN_OPENAPI}}}
"""Arguments of a route that answers CSV alone."""
WHOLE_LIST = (
    "All that the filters let through, without pages. Text that a spreadsheet would run as a formula is marked as text."
)
"""Description of such a route."""
_FORMULA = (*"=+-@\t\r\n", *"\uff1d\uff0b\uff0d\uff20")
"""Characters that may begin a formula in a spreadsheet, full-width forms included (OWASP, "CSV Injection")."""


def wants_csv(accept: str | None) -> bool:
    """Return whether `Accept` prefers CSV to JSON."""
    weights = {"text/csv": 0.0, "application/json": 0.0}
    for part in (accept or "").split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if media in weights:
            quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
            weights[media] = float(quality) if quality.replace(".", "", 1).isdecimal() else 0.0
    return weights["text/csv"] > weights["application/json"]


def cell(value: object) -> object:
    """Return a value for a cell: text that looks like a formula is marked as text."""
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


def csv_response(
    name: str, columns: Sequence[str], chunks: Iterable[Iterable[dict[str, Any]]], headers: dict[str, str] | None = None
) -> StreamingResponse:
    """Stream rows as CSV with a header.

    Parameters
    ----------
    name
        Name of the file that a browser saves.
    chunks
        Rows in pieces; each piece is written at once.
    """
    disposition = {"Content-Disposition": f'attachment; filename="{name}.csv"', **(headers or {})}
    return StreamingResponse(_lines(columns, chunks), headers=disposition, media_type=CSV)


def _lines(columns: Sequence[str], chunks: Iterable[Iterable[dict[str, Any]]]) -> Iterator[str]:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for chunk in chunks:
        writer.writerows([cell(row.get(name)) for name in columns] for row in chunk)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()
