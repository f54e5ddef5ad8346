"""The door: keys and their scopes, hosts, origins, rates."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ebb.contracts.api_keys import KeyRecord, Scope, make_key, split_key
from ebb.errors import UnavailableError
from ebb.settings import Settings
from serving.http.auth import LOCAL_PRINCIPAL, REFUSALS_A_MINUTE, Authenticator, Principal
from serving.http.problems import ProblemError
from serving.http.rate_limit import RateLimiter
from serving.projections.api_keys import ApiKeyView

ONE, TWO = "one-long-enough-key", "two-long-enough-key"


def authenticator(view: ApiKeyView | None = None, **settings: Any) -> Authenticator:
    return Authenticator(Settings(**settings), view)


def refused(auth: Authenticator, key: str | None, scope: Scope = Scope.READ) -> str:
    with pytest.raises(ProblemError) as caught:
        auth.authenticate(key, scope)
    assert key is None or len(key) < 20 or key not in str(caught.value)
    return caught.value.kind


def apply_record(api_keys: ApiKeyView, record: KeyRecord) -> None:
    api_keys.apply(record.id.encode(), record.model_dump_json().encode())


def now(**later: float) -> datetime:
    return datetime.now(UTC) + timedelta(**later)


def test_beyond_loopback_nobody_is_admitted_without_a_key_however_the_settings_were_made() -> None:
    auth = Authenticator(Settings().model_copy(update={"api_host": "0.0.0.0"}))  # noqa: S104 - compared, not bound
    assert auth.needs_key
    assert refused(auth, None) == "no-key"
    assert refused(auth, "anything at all to try") == "wrong-key"


def test_authenticator_without_keys_accepts_any_caller() -> None:
    assert not authenticator().needs_key
    assert authenticator().authenticate(None, Scope.ADMIN) is LOCAL_PRINCIPAL
    assert authenticator().authenticate("whatever an SDK calls its write key", Scope.WRITE) is LOCAL_PRINCIPAL


def test_authenticator_with_keys_accepts_each_of_them_alone() -> None:
    auth = authenticator(api_keys=f"{ONE}, {TWO},")
    assert auth.needs_key
    for scope in Scope:
        assert auth.authenticate(ONE, scope).allows(scope)
        assert auth.authenticate(TWO, scope).id != auth.authenticate(ONE, scope).id
    for wrong in (ONE[:-1], f"{ONE} ", ONE.upper(), f"{ONE},{TWO}", "é"):
        assert refused(auth, wrong) == "wrong-key"
    for none in (None, ""):
        assert refused(auth, none) == "no-key"


def test_made_key_authorizes_by_its_scope_act_reads_too_and_admin_does_all() -> None:
    api_keys = ApiKeyView()
    auth = authenticator(api_keys, require_key=True)
    for scope in Scope:
        record, key = make_key(f"for {scope}", [scope])
        apply_record(api_keys, record)
        for required in Scope:
            if scope in {required, Scope.ADMIN} or (scope, required) == (Scope.ACT, Scope.READ):
                assert auth.authenticate(key, required).id == record.id
            else:
                assert refused(auth, key, required) == "wrong-scope"


def test_nothing_stored_of_a_key_authenticates() -> None:
    api_keys = ApiKeyView()
    auth = authenticator(api_keys, require_key=True)
    record, key = make_key("mine", [Scope.READ])
    apply_record(api_keys, record)
    parts = split_key(key)
    assert parts is not None
    secret = parts[1]
    assert secret not in record.model_dump_json()
    assert len(secret) == 43, "256 bits"
    for wrong in (record.digest, f"ebb_{record.id}_{record.digest}", f"ebb_{record.id}_", key[:-1], key.upper()):
        assert refused(auth, wrong) == "wrong-key"
    other, _ = make_key("other", [Scope.READ])
    apply_record(api_keys, other.model_copy(update={"digest": record.digest}))
    assert refused(auth, f"ebb_{other.id}_{secret}") == "wrong-key", (
        "a digest copied to another record authenticates nothing"
    )


def test_revoked_and_expired_keys_are_refused_at_once() -> None:
    api_keys = ApiKeyView()
    auth = authenticator(api_keys, require_key=True)
    record, key = make_key("mine", [Scope.READ], now(hours=1))
    apply_record(api_keys, record)
    assert auth.authenticate(key, Scope.READ).expires_at == record.expires_at
    apply_record(api_keys, record.model_copy(update={"expires_at": now(seconds=-1)}))
    assert refused(auth, key) == "ended-key"
    apply_record(api_keys, record.model_copy(update={"revoked_at": now()}))
    assert refused(auth, key) == "ended-key"
    api_keys.apply(record.id.encode(), None)
    assert refused(auth, key) == "wrong-key"


def test_record_that_is_no_key_authenticates_nothing_and_stops_nothing() -> None:
    api_keys = ApiKeyView()
    auth = authenticator(api_keys, require_key=True)
    record, key = make_key("mine", [Scope.READ])
    for body in (b"{", b"{}", record.model_dump_json().replace(record.id, "0" * 12).encode()):
        api_keys.apply(record.id.encode(), body)
        assert refused(auth, key) == "wrong-key"
    apply_record(api_keys, record)
    auth.authenticate(key, Scope.READ)


def test_while_keys_are_read_an_unknown_one_is_unavailable_and_a_known_one_is_accepted() -> None:
    api_keys = ApiKeyView()
    auth = Authenticator(Settings(require_key=True, api_keys=ONE), api_keys, complete=lambda: False)
    with pytest.raises(UnavailableError):
        auth.authenticate("ebb_000000000000_x", Scope.READ)
    auth.authenticate(ONE, Scope.READ)
    assert refused(auth, None) == "no-key"


async def test_stream_is_notified_of_its_keys_revocation_and_expiry() -> None:
    api_keys = ApiKeyView()
    api_keys.start(asyncio.get_running_loop())
    auth = authenticator(api_keys, require_key=True)
    record, key = make_key("mine", [Scope.READ])
    apply_record(api_keys, record)
    waiting = asyncio.create_task(auth.until_ended(auth.authenticate(key, Scope.READ)))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    apply_record(api_keys, record.model_copy(update={"revoked_at": now()}))
    await asyncio.wait_for(waiting, 5)
    # Revoked between being let in and beginning to wait.
    await asyncio.wait_for(auth.until_ended(Principal(record.id, "mine", frozenset(Scope))), 5)
    assert not auth.has_ended(Principal("long", "mine", frozenset(Scope), now(hours=1)))
    short = Principal("short", "mine", frozenset(Scope), now(seconds=0.1))
    await asyncio.wait_for(auth.until_ended(short), 5)
    assert auth.has_ended(short)


def test_caller_with_many_wrong_keys_waits_and_one_with_a_right_key_does_not() -> None:
    auth = authenticator(api_keys="the-right-key-of-all")
    # One is refilled each second meanwhile.
    kinds = [refused(auth, "wrong") for _ in range(2 * REFUSALS_A_MINUTE)]
    assert kinds[:REFUSALS_A_MINUTE] == ["wrong-key"] * REFUSALS_A_MINUTE
    assert kinds[-1] == "too-many-requests"
    auth.authenticate("the-right-key-of-all", Scope.READ)


def test_requests_are_counted_by_key() -> None:
    auth = authenticator(api_keys=f"{ONE},{TWO}", rate_limit_requests=2)
    one, two = auth.authenticate(ONE, Scope.READ), auth.authenticate(TWO, Scope.READ)
    assert [auth.count_request(one)[0][1].remaining for _ in range(2)] == [1, 0]
    with pytest.raises(ProblemError) as caught:
        auth.count_request(one)
    assert caught.value.kind == "too-many-requests"
    assert 0 < int(caught.value.headers["Retry-After"]) <= 30
    auth.count_request(two)
    assert authenticator().count_request(LOCAL_PRINCIPAL) == [], "loopback is not rate limited"


def test_quota_may_be_spent_at_once_and_refills_evenly() -> None:
    at = 1_000.0
    rates = RateLimiter("requests", 6, 60, now=lambda: at)
    assert rates.header == '"requests";q=6;w=60'
    assert [rates.take("a").remaining for _ in range(6)] == [5, 4, 3, 2, 1, 0]
    spent = rates.take("a")
    assert (spent.allowed, spent.retry_after, spent.header) == (False, 10, '"requests";r=0;t=60')
    assert rates.take("b").allowed
    at += 9.9
    assert not rates.take("a").allowed
    at += 0.1
    assert rates.take("a").allowed
    assert not rates.take("a").allowed
    at += 600
    assert rates.take("a", 4).remaining == 2
    assert not rates.take("a", 3).allowed, "all or none"
    assert rates.take("a", 2).remaining == 0


def test_more_than_a_quota_at_once_counts_as_a_quota_and_not_as_never() -> None:
    rates = RateLimiter("events", 10, 60, now=lambda: 0.0)
    assert rates.take("a", 1_000).allowed
    assert not rates.take("a", 1).allowed


def test_clients_with_a_full_quota_are_forgotten() -> None:
    at = 0.0
    rates = RateLimiter("refusals", 60, 60, now=lambda: at)
    for number in range(10_000):
        rates.take(f"address-{number}")
    at += 2.0
    rates.take("one more")
    assert len(rates._arrivals) == 1


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000", "LOCALHOST:1"])
def test_authenticator_without_keys_serves_loopback_names(host: str) -> None:
    assert authenticator().serves_host(host)


@pytest.mark.parametrize("host", [None, "", "evil.example", "127.0.0.1.evil.example", "evil.example:8000", "[::1"])
def test_authenticator_without_keys_refuses_other_names(host: str | None) -> None:
    assert not authenticator().serves_host(host)
    assert authenticator(api_keys=ONE).serves_host(host)


def test_authenticator_serves_the_hosts_of_the_configured_origins() -> None:
    assert authenticator(allowed_origins="https://shop.example:8443").serves_host("shop.example:8443")


def test_authenticator_allows_the_pages_own_origin_listed_origins_and_programs() -> None:
    auth = authenticator(allowed_origins="https://shop.example, https://other.example/")
    assert auth.allows_origin(None, "127.0.0.1:8000")
    assert auth.allows_origin("http://127.0.0.1:8000", "127.0.0.1:8000")
    assert auth.allows_origin("https://shop.example", "127.0.0.1:8000")
    assert auth.allows_origin("https://OTHER.example", "127.0.0.1:8000")


@pytest.mark.parametrize(
    "origin",
    ["null", "https://evil.example", "http://127.0.0.1:9999", "https://shop.example.evil.example", "", "http://[::1"],
)
def test_authenticator_refuses_other_origins(origin: str) -> None:
    assert not authenticator(allowed_origins="https://shop.example").allows_origin(origin, "127.0.0.1:8000")


def test_settings_refuse_to_listen_beyond_loopback_without_keys_and_name_no_secret() -> None:
    with pytest.raises(ValueError, match="api_keys is empty"):
        Settings(api_host="0.0.0.0")  # noqa: S104 - what is refused
    assert Settings(api_host="0.0.0.0", require_key=True).require_key  # noqa: S104
