"""The log that all peers read: random activity with the irregularities of a real topic.

First a twentieth of the customers over forty days, so that days expire from the 7 and 30-day windows; these
records are the warm-up. Then all customers over three days, as `bench-throughput` has them, up to a quarter of an hour
out of order; one purchase in four has a discount. One record in a hundred is a repetition, one in five hundred is
invalid. The log ends with a view by every customer at the same time, so that the last results of all customers are
features at that time.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import orjson

from benchmarks._load import SHARES, TYPES
from ebb.contracts.activity import encode_activity

CUSTOMERS = 20_000
HISTORY_DAYS, DAYS = 40, 3
HISTORY_RECORDS, HISTORY_CUSTOMERS = 10_000, 1_000
DISORDER_SECONDS = 900
RESENT_WITHIN = 500
"""Records between an event and its repetition, at most."""
STEP = 0.125
"""Resolution of event times, seconds: exact in binary, so that every language rounds them alike."""
_DAY = 86_400
_VALID = {"event_id": "b", "customer_id": "load-0", "type": "view", "occurred_at": "2026-01-01T00:00:00Z"}
_INVALID = (
    b"",
    b"{not json",
    *(
        orjson.dumps({name: value for name, value in (_VALID | change).items() if value is not None})
        for change in (
            {"event_id": None},
            {"customer_id": ""},
            {"occurred_at": "2026-01-01T00:00:00"},
            {"occurred_at": "yesterday"},
            {"properties": 3},
            {"properties": {"amount": "much"}},
        )
    ),
)

Record = tuple[str, bytes]
"""Key and body."""


@dataclass(frozen=True)
class Log:
    """Records in the order of sending, and the number of them that are the warm-up."""

    records: list[Record]
    warm_up: int


class Source:
    """Generator of logs of different lengths with the same beginning.

    Parameters
    ----------
    longest
        Records of the longest log.
    end
        Unix time of the end, whole seconds.
    """

    def __init__(self, longest: int, *, seed: int, end: float, customers: int = CUSTOMERS) -> None:
        self._rng = np.random.default_rng(seed)
        self._end = end
        self._customers = customers
        body = longest - customers
        first = end - (HISTORY_DAYS + DAYS) * _DAY
        self._body = self._events("h", HISTORY_CUSTOMERS, HISTORY_RECORDS, first, HISTORY_DAYS * _DAY)
        self._body += self._events("e", customers, body - HISTORY_RECORDS, end - DAYS * _DAY, DAYS * _DAY)

    def log(self, records: int) -> Log:
        """Return the log of so many records."""
        kept = self._body[: records - self._customers]
        at = datetime.fromtimestamp(self._end, UTC)
        keys = [_key(number) for number in range(self._customers)]
        last = [(key, encode_activity(f"last-{key}", key, "view", at)) for key in keys]
        return Log(kept + last, HISTORY_RECORDS)

    def _events(self, name: str, customers: int, count: int, begin: float, span: float) -> list[Record]:
        rng = self._rng
        numbers = rng.integers(0, customers, count).tolist()
        kinds = rng.choice(len(TYPES), count, p=SHARES).tolist()
        amounts = np.round(rng.lognormal(3.5, 0.6, count), 2).tolist()
        back = rng.random(count) * DISORDER_SECONDS
        moments = begin + np.maximum(np.linspace(0, span - STEP, count) - back, 0)
        times = (np.floor(moments / STEP) * STEP).tolist()
        fate = rng.random(count)
        resent = np.flatnonzero(fate < 0.01)
        invalid = np.flatnonzero((fate >= 0.01) & (fate < 0.012))
        records: list[Record] = []
        for number in range(count):
            customer = _key(numbers[number])
            kind = TYPES[kinds[number]]
            properties: dict[str, object] = {"channel": "web", "country": "DE", "product_id": f"p{number % 5_000}"}
            if kind == "purchase":
                properties |= {"amount": amounts[number], "currency": "EUR"}
                if number % 4 == 0:
                    properties["discount"] = round(amounts[number] / 10, 2)
            at = datetime.fromtimestamp(times[number], UTC)
            records.append((customer, encode_activity(f"{name}{number}", customer, kind, at, properties)))
        for number in invalid.tolist():
            records[number] = (records[number][0], _INVALID[number % len(_INVALID)])
        # After the invalid ones: if the first of two were invalid, the event would arrive too late.
        for number in resent.tolist():
            records[number] = records[max(number - int(rng.integers(1, RESENT_WITHIN)), 0)]
        return records


def _key(number: int) -> str:
    return f"load-{number:07d}"
