"""What each peer does between its framework's calls: the definition, applied to what that framework hands over.

Nothing of the frameworks is imported here, so that the tests need none of them.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter

import msgspec

from benchmarks._peers.definition import Customer, Seen, begin, describe, parse, score, update

read = msgspec.msgpack.Decoder(Customer).decode
"""State from its bytes."""
write = msgspec.msgpack.Encoder().encode

Described = tuple[list[float], float]
"""Features and score."""
Change = tuple[int, int, int]
"""Kind, time, amount: what is left of an event once its customer is known."""
Result = tuple[bytes, float, int]
"""State, score, records processed so far."""
NOTHING: Result = (b"", 0.0, 0)
_time = itemgetter(3)


def one_record(body: bytes, kept: bytes | None, seen: Seen) -> tuple[bytes, Described] | None:
    """Quix Streams: a record and its customer's state; None if the record changes nothing."""
    event = parse(body)
    if event is None or not seen.new(event[0]):
        return None
    _, _, kind, at, amount = event
    customer = begin(at) if kept is None else read(kept)
    update(customer, kind, at, amount)
    features = describe(customer)
    return write(customer), (features, score(features))


def many_records(
    bodies: Sequence[bytes], kept: Callable[[str], bytes | None], seen: Seen
) -> dict[str, tuple[bytes, Described]]:
    """Faust: records of any customers; the new state of each customer touched, described once."""
    touched: dict[str, Customer] = {}
    for body in bodies:
        event = parse(body)
        if event is None or not seen.new(event[0]):
            continue
        _, customer_id, kind, at, amount = event
        customer = touched.get(customer_id)
        if customer is None:
            state = kept(customer_id)
            customer = touched[customer_id] = begin(at) if state is None else read(state)
        update(customer, kind, at, amount)
    found = {}
    for customer_id, customer in touched.items():
        features = describe(customer)
        found[customer_id] = (write(customer), (features, score(features)))
    return found


def queued_changes(customer: Customer | None, changes: Sequence[Change]) -> tuple[Customer, Described]:
    """Bytewax: all that is queued for one customer, described once."""
    if customer is None:
        customer = begin(changes[0][1])
    for kind, at, amount in changes:
        update(customer, kind, at, amount)
    features = describe(customer)
    return customer, (features, score(features))


def minibatch(result: Result | None, rows: Sequence[tuple[Sequence[bytes], int]], seen: Seen) -> Result:
    """Pathway: the records that a minibatch brings for one key, in no order, each with how often it came."""
    state, before, processed = result or NOTHING
    events = []
    for (body,), times in rows:
        processed += times
        event = parse(body)
        if event is not None and seen.new(event[0]):
            events.append(event)
    if not events:
        return state, before, processed
    events.sort(key=_time)
    customer = read(state) if state else begin(events[0][3])
    for _, _, kind, at, amount in events:
        update(customer, kind, at, amount)
    return write(customer), score(describe(customer)), processed
