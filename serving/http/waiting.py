"""Clients that have shown no key yet: bounded in number, in all and by network."""

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

GRACE_SECONDS = 1.0
"""Time that a client has before it may have to make room: what it sent may lie unread in this process."""


@lru_cache(maxsize=4_096)
def network_of(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or a /64 of IPv6, which one client has to itself."""
    try:
        parsed = ipaddress.ip_address(address[:64])
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed.packed[:8] + bytes(8), 64)))


@dataclass(frozen=True, slots=True, eq=False)
class WaitingPlace:
    """A client's place in a `WaitingRoom`."""

    network: str
    since: float
    make_room: Callable[[], None]


class WaitingRoom:
    """Places for clients that wait to be admitted. Nobody is turned away: the one who has waited longest makes room.

    So one client can fill what its network may have and keep out nobody else; and one who fills all places by many
    networks must bring new connections faster than others show their keys.

    Parameters
    ----------
    places
        In all.
    places_a_network
        Of one network (`network_of`).
    """

    def __init__(self, places: int, places_a_network: int, now: Callable[[], float] = time.monotonic) -> None:
        self._places = places
        self._places_a_network = places_a_network
        self._now = now
        # Dictionaries as sets that keep their order: the oldest first.
        self._waiting: dict[str, dict[WaitingPlace, None]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def enter(self, address: str, make_room: Callable[[], None]) -> WaitingPlace:
        """Give a client of an address a place; `make_room` is called if it has to leave for another."""
        network = network_of(address)
        mine = self._waiting.get(network, {})
        if len(mine) >= self._places_a_network:
            self._evict(mine, at_once=len(mine) >= 2 * self._places_a_network)
        elif self._size >= self._places:
            self._evict(max(self._waiting.values(), key=len), at_once=self._size >= 2 * self._places)
        place = WaitingPlace(network, self._now(), make_room)
        self._waiting.setdefault(network, {})[place] = None
        self._size += 1
        return place

    def leave(self, place: WaitingPlace) -> None:
        """Give a place back; one that was given back already is ignored."""
        mine = self._waiting.get(place.network, {})
        if place in mine:
            del mine[place]
            self._size -= 1
            if not mine:
                del self._waiting[place.network]

    def _evict(self, mine: dict[WaitingPlace, None], *, at_once: bool) -> None:
        oldest = next(iter(mine))
        if at_once or self._now() - oldest.since >= GRACE_SECONDS:
            self.leave(oldest)
            oldest.make_room()
