"""The step of each peer: the definition, applied to the input that its framework passes.

No framework is imported here, so that the tests need none of them.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter

import msgspec

from benchmarks._peers.definition import Customer, Event, Seen, begin, message, parse, update

read = msgspec.msgpack.Decoder(Customer).decode
"""Decode state from bytes."""
write = msgspec.msgpack.Encoder().encode

Changed = tuple[bytes, bytes]
"""A customer's new state, and its result message."""
Reduced = tuple[bytes, bytes]
"""State, and its result message: empty if nothing has changed since the one before."""
EMPTY: Reduced = (b"", b"")
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
    """Faust: records of any customers; one result for each updated customer."""
    updated: dict[str, Customer] = {}
    for body in bodies:
        event = parse(body)
        if event is None or not seen.new(event[0]):
            continue
        customer_id = event[1]
        customer = updated.get(customer_id)
        if customer is None:
            state = kept(customer_id)
            customer = updated[customer_id] = begin(event[3]) if state is None else read(state)
        update(customer, event)
    return {customer_id: (write(customer), message(customer_id, customer)) for customer_id, customer in updated.items()}


def queued_events(customer: Customer | None, events: Sequence[Event]) -> tuple[Customer, bytes]:
    """Bytewax: all queued events of one customer, with one result."""
    if customer is None:
        customer = begin(events[0][3])
    for event in events:
        update(customer, event)
    return customer, message(events[0][1], customer)


def minibatch(before: Reduced | None, rows: Sequence[tuple[Sequence[bytes], int]], seen: Seen) -> Reduced:
    """Pathway: the records of one key in a minibatch, unordered, each with its multiplicity."""
    state, _ = before or EMPTY
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
