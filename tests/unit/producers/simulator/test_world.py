"""What the simulated customers do: reproducible, and like a shop's."""

from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import orjson
import pytest

from ebb.clock import DAY
from ebb.contracts.activity import Activity, decode_activity
from producers.simulator.behaviour import CART, PURCHASE, SESSION, SUPPORT, TYPES, VIEW
from producers.simulator.population import COUNTRIES, COUNTRY_UTC_OFFSET, NEVER
from producers.simulator.records import SimulatedRecord, records
from producers.simulator.shifts import Shift, Shifts
from producers.simulator.world import MEMORY_DAYS, Day, Simulation, World

FIRST = 20_001
WORLD = World(seed=3, customers=1_500, first_day=FIRST)


def _days(world: World, count: int) -> list[Day]:
    simulation = Simulation(world)
    return [simulation.step() for _ in range(count)]


@pytest.fixture(scope="module")
def days() -> list[Day]:
    return _days(WORLD, 100)


@pytest.fixture(scope="module")
def sent(days: list[Day]) -> list[SimulatedRecord]:
    return [record for day in days[:20] for record in records(day, WORLD.tag)]


def test_the_same_seed_gives_the_same_records(sent: list[SimulatedRecord]) -> None:
    again = [record for day in _days(WORLD, 20) for record in records(day, WORLD.tag)]
    assert again == sent


def test_another_seed_gives_other_records_and_other_ids(sent: list[SimulatedRecord]) -> None:
    other = World(seed=4, customers=1_500, first_day=FIRST)
    differing = records(_days(other, 1)[0], other.tag)
    mine = {orjson.loads(record.body)["event_id"] for record in sent}
    assert not mine & {orjson.loads(record.body)["event_id"] for record in differing}


def test_a_shift_changes_nothing_before_its_day() -> None:
    shifted = World(3, 1_500, FIRST, shifts=Shifts((Shift(5, "holiday"),)))
    plain, other = _days(WORLD, 8), _days(shifted, 8)
    for day in range(5):
        assert records(plain[day], "t") == records(other[day], "t")
    assert len(other[6].events) < 0.75 * len(plain[6].events)


def test_every_record_is_accepted_and_lies_in_its_day_in_order(days: list[Day], sent: list[SimulatedRecord]) -> None:
    times = [record.time for record in sent]
    assert times == sorted(times)
    ids = set()
    for record in sent:
        event, properties = decode_activity(record.body, latest=(FIRST + 20) * DAY, max_bytes=2_000)
        assert isinstance(event, Activity)
        assert event.customer_id == record.customer_id
        assert event.occurred_at.timestamp() == pytest.approx(record.time, abs=1e-3)
        assert properties.country in COUNTRIES
        ids.add(event.event_id)
    assert len(ids) == len(sent)
    for number, day in enumerate(days[:20]):
        low, high = (FIRST + number) * DAY, (FIRST + number + 1) * DAY
        assert all(low <= record.time < high for record in records(day, "t"))


def test_hidden_traits_are_not_in_a_record(sent: list[SimulatedRecord]) -> None:
    allowed = {
        "amount", "currency", "channel", "country", "product_id", "category", "store", "payment_method", "discount",
        "session_id",
    }  # fmt: skip
    for record in sent:
        body = orjson.loads(record.body)
        assert set(body) == {"event_id", "customer_id", "type", "occurred_at", "properties"}
        assert set(body["properties"]) <= allowed


def test_activity_is_of_a_realistic_size_and_mix(days: list[Day]) -> None:
    kinds = np.bincount(np.concatenate([day.events.kind for day in days]), minlength=5)
    events = kinds.sum() / len(days)
    assert 0.4 < events / WORLD.customers < 1.2
    assert kinds[VIEW] > kinds[SESSION] > kinds[CART] > kinds[PURCHASE] > kinds[SUPPORT] > 0
    assert 0.03 < kinds[PURCHASE] / kinds[SESSION] < 0.4


def test_sessions_are_funnels(days: list[Day]) -> None:
    purchases = 0
    for day in days[:30]:
        session: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        events = day.events
        for at, kind, number, product in zip(events.at_ms, events.kind, events.session, events.product, strict=True):
            session[int(number)].append((int(at), int(kind), int(product)))
        for steps in session.values():
            assert steps == sorted(steps, key=lambda step: step[0])
            kinds = [kind for _, kind, _ in steps]
            assert kinds[0] == SESSION
            assert kinds.count(SESSION) == 1
            viewed, carted = set(), set()
            for _, kind, product in steps:
                if kind == VIEW:
                    viewed.add(product)
                elif kind == CART:
                    assert product in viewed
                    carted.add(product)
                elif kind == PURCHASE:
                    assert product in carted
                    purchases += 1
    assert purchases > 100


def test_purchases_alone_carry_money(days: list[Day]) -> None:
    events = days[3].events
    bought = events.kind == PURCHASE
    assert np.all(events.amount[bought] > 0)
    assert np.all(np.isnan(events.amount[~bought]))
    discounts = np.concatenate([day.events.discount[day.events.kind == PURCHASE] for day in days])
    assert 0.15 < np.mean(discounts > 0) < 0.6


def test_a_visit_on_a_saturday_is_likelier_than_on_a_tuesday(days: list[Day]) -> None:
    by_weekday = Counter[int]()
    for day in days[10:94]:  # twelve full weeks
        by_weekday[(day.day + 3) % 7] += len(np.unique(day.events.row))
    assert by_weekday[5] > 1.12 * by_weekday[1]


def test_sessions_peak_in_the_evening_of_the_country(days: list[Day]) -> None:
    for country in ("DE", "JP", "US"):
        index = COUNTRIES.index(country)
        hours = Counter[int]()
        for day in days[:60]:
            mine = (day.events.kind == SESSION) & (day.customers.country[day.events.row] == index)
            local = day.events.at_ms[mine] // 3_600_000 + COUNTRY_UTC_OFFSET[index]
            hours.update((local % 24).tolist())
        total = hours.total()
        assert sum(hours[hour] for hour in (18, 19, 20, 21)) > 0.25 * total, country
        assert sum(hours[hour] for hour in (1, 2, 3, 4)) < 0.05 * total, country


def test_customers_show_fatigue_before_they_leave(days: list[Day]) -> None:
    """The visits, purchases and complaints of leavers in their last three weeks, against those who stay."""
    end = days[-1].customers
    left = dict(zip(end.number.tolist(), end.left.tolist(), strict=True))
    leavers = {number: day for number, day in left.items() if day > FIRST + 40}
    assert len(leavers) > 40
    by_period: dict[str, Counter[int]] = {"early": Counter(), "late": Counter()}
    visits: Counter[str] = Counter()
    stayed: Counter[int] = Counter()
    for day in days:
        numbers = day.customers.number[day.events.row]
        for number, kind in zip(numbers.tolist(), day.events.kind.tolist(), strict=True):
            if number in leavers:
                before = leavers[number] - day.day
                period = "late" if before <= 14 else "early" if 28 < before <= 42 else ""
                if period:
                    by_period[period][kind] += 1
                    visits[period] += kind == SESSION
            elif left.get(number) == NEVER:
                stayed[kind] += 1
    assert visits["late"] < 0.8 * visits["early"]
    late, early = by_period["late"], by_period["early"]
    assert late[SUPPORT] / late[SESSION] > 2 * stayed[SUPPORT] / stayed[SESSION]
    assert late[PURCHASE] / late[SESSION] < 0.8 * stayed[PURCHASE] / stayed[SESSION]
    assert late[PURCHASE] < 0.75 * early[PURCHASE]


def test_customers_who_left_never_return_and_are_dropped_in_the_end(days: list[Day]) -> None:
    gone: set[int] = set()
    for before, after in pairwise(days):
        gone |= set(after.customers.number[after.customers.left != NEVER].tolist())
        active = set(before.customers.number[before.events.row].tolist())
        assert not active & (gone - set(after.customers.number[after.customers.left == before.day].tolist()))
    far = _days(World(seed=3, customers=200, first_day=FIRST), 2 * MEMORY_DAYS)[-1].customers
    old = (far.left != NEVER) & (far.last_seen < far.last_seen.max() - MEMORY_DAYS - 1)
    assert not old.any()


def test_newcomers_arrive_are_active_at_once_and_keep_the_population_up(days: list[Day]) -> None:
    arrivals = []
    for before, after in pairwise(days):
        new = after.customers.joined == after.day
        arrivals.append(int(new.sum()))
        rows = set(after.events.row.tolist())
        assert set(np.flatnonzero(new).tolist()) <= rows
        assert np.all(after.customers.number[new] > before.customers.number.max())
    assert 1 < np.mean(arrivals) < 8
    present = [int((day.customers.left == NEVER).sum()) for day in days]
    assert 0.75 < present[-1] / present[0] < 1.25


def test_the_rate_scales_activity() -> None:
    slow = sum(len(day.events) for day in _days(World(3, 500, FIRST, rate=0.5), 15))
    fast = sum(len(day.events) for day in _days(World(3, 500, FIRST, rate=2.0), 15))
    assert fast > 2.5 * slow


def test_event_types_are_those_that_the_settings_map() -> None:
    from ebb.settings import DEFAULT_KINDS  # noqa: PLC0415

    assert all(name in DEFAULT_KINDS for name in TYPES)
