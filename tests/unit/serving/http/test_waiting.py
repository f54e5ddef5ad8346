"""Places for those who have shown no key yet: bounded in all and by network, and nobody is kept out by another."""

from collections.abc import Callable

import pytest

from serving.http.rate_limit import RateLimiter
from serving.http.waiting import GRACE_SECONDS, WaitingRoom, network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
        ("x" * 30_000, "unknown"),
        ("192.0.2.7, 10.0.0.1", "unknown"),
    ],
)
def test_one_client_is_an_address_or_a_network_of_64_bits(address: str, network: str) -> None:
    assert network_of(address) == network


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def left(made: list[str], name: str) -> Callable[[], None]:
    return lambda: made.append(name)


def test_the_oldest_of_a_full_network_makes_room_and_of_no_other() -> None:
    now, made = Clock(), list[str]()
    room = WaitingRoom(100, 3, now)
    for name in ("a1", "a2", "a3"):
        room.enter("192.0.2.1", left(made, name))
    room.enter("192.0.2.2", left(made, "b1"))
    now.at += GRACE_SECONDS
    room.enter("192.0.2.1", left(made, "a4"))
    assert made == ["a1"]
    room.enter("192.0.2.2", left(made, "b2"))
    assert made == ["a1"]
    assert len(room) == 5


def test_the_oldest_of_the_busiest_network_makes_room_when_all_places_are_taken() -> None:
    now, made = Clock(), list[str]()
    room = WaitingRoom(5, 4, now)
    room.enter("192.0.2.1", left(made, "a"))
    for number in range(4):
        room.enter("2001:db8::1", left(made, f"b{number}"))
    now.at += GRACE_SECONDS
    room.enter("192.0.2.3", left(made, "c"))
    assert made == ["b0"]
    assert len(room) == 5


def test_who_came_just_now_need_not_leave_but_twice_the_places_are_the_end() -> None:
    made = list[str]()
    room = WaitingRoom(100, 3, Clock())
    for number in range(9):
        room.enter("192.0.2.1", left(made, str(number)))
    assert len(room) == 6
    assert made == ["0", "1", "2"]


def test_place_is_given_back_once() -> None:
    room = WaitingRoom(10, 10)
    first, second = room.enter("a", lambda: None), room.enter("a", lambda: None)
    for place in (first, first, second, second):
        room.leave(place)
    assert len(room) == 0


def test_limiter_of_many_clients_holds_a_bounded_number_and_they_share_a_quota_beyond_it() -> None:
    now = Clock()
    limiter = RateLimiter("refusals", 5, 60, now=now)
    for number in range(10_000):
        assert limiter.take(f"client-{number}").allowed
    shared = [limiter.take(f"late-{number}").allowed for number in range(20)]
    assert shared == [True] * 5 + [False] * 15
    assert limiter.take("client-1").allowed, "who is held already keeps a quota of its own"
    assert len(limiter._arrivals) <= 10_001
    now.at += 61
    assert limiter.take("late-19").remaining == 4
