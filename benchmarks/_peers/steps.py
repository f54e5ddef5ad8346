"""What each peer does between its framework's calls: the definition, applied to what that framework hands over.

Nothing of the frameworks is imported here, so that the tests need none of them.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter

import msgspec

from benchmarks._peers.definition import Customer, Event, Seen, begin, message, parse, update

read = msgspec.msgpack.Decoder(Customer).decode
"""State from its bytes."""
write = msgspec.msgpack.Encoder().encode

Changed = tuple[bytes, bytes]
"""A customer's new state, and the message that describes it."""
Reduced = tuple[bytes, bytes]
"""State, and the message about it: empty if nothing has changed since the one before."""
NOTHING: Reduced = (b"", b"")
_time = itemgetter(3)


def one_record(body: bytes, kept: bytes | None, seen: Seen) -> Changed | None:
    """Quix Streams: a record and its customer's state; None if the record changes nothing."""
    event = parse(body)
    if event is None or not seen.new(event[0]):
        return None
    customer = begin(event[3]) if kept is None else read(kept)
    update(customer, event)
    return write(customer), message(event[1], customer)


def many_records(bodies: Sequence[bytes], kept: Callable[[str], bytes | None], seen: Seen) -> dict[str, Changed]:
    """Faust: records of any customers; each customer touched, described once."""
    touched: dict[str, Customer] = {}
    for body in bodies:
        event = parse(body)
        if event is None or not seen.new(event[0]):
            continue
        customer_id = event[1]
        customer = touched.get(customer_id)
        if customer is None:
            state = kept(customer_id)
            customer = touched[customer_id] = begin(event[3]) if state is None else read(state)
        update(customer, event)
    return {customer_id: (write(customer), message(customer_id, customer)) for customer_id, customer in touched.items()}


def queued_events(customer: Customer | None, events: Sequence[Event]) -> tuple[Customer, bytes]:
    """Bytewax: all that is queued for one customer, described once."""
    if customer is None:
        customer = begin(events[0][3])
    for event in events:
        update(customer, event)
    return customer, message(events[0][1], customer)


def minibatch(before: Reduced | None, rows: Sequence[tuple[Sequence[bytes], int]], seen: Seen) -> Reduced:
    """Pathway: the records that a minibatch brings for one key, in no order, each with how often it came."""
    state, _ = before or NOTHING
    events = []
    for (body,), _ in rows:
        event = parse(body)
        if event is not None and seen.new(event[0]):
            events.append(event)
    if not events:
        return state, b""
    events.sort(key=_time)
    customer = read(state) if state else begin(events[0][3])
    for event in events:
        update(customer, event)
    return write(customer), message(events[0][1], customer)
