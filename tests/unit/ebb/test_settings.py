"""The settings are parsed once, where they are declared: what they hold is what every part sees."""

import pytest

from ebb.errors import SettingsError
from ebb.settings import Settings, read_settings
from ebb_cli.local import parts

KEYS = ("a-key-of-16-chars", "another-key-of-it")


@pytest.mark.parametrize("keys", [",", " ", " , ,", "\t"])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - refused
def test_keys_that_are_none_are_refused(keys: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBB_API_KEYS", keys)
    monkeypatch.setenv("EBB_API_HOST", host)
    with pytest.raises(SettingsError, match=r"EBB_API_KEYS: .*holds no key"):
        read_settings()


def test_a_short_key_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBB_API_KEYS", f"{KEYS[0]},hunter2")
    with pytest.raises(SettingsError, match="1 of the keys in api_keys is shorter than 16") as refused:
        read_settings()
    assert "hunter2" not in str(refused.value)
    assert KEYS[0] not in str(refused.value)


def test_no_address_beyond_loopback_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("0.0.0.0", "::", "", "192.0.2.7", "127.0.0.2"):  # noqa: S104 - refused
        monkeypatch.setenv("EBB_API_HOST", host)
        with pytest.raises(SettingsError, match="api_keys is empty"):
            read_settings()


def test_lists_are_parsed_once_and_pass_through_a_childs_environment_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Settings(
        api_keys=f" {KEYS[0]},, {KEYS[1]} ,",
        collect_calls="track, page",
        allowed_origins="https://a.example",
    )
    assert made.api_keys == KEYS
    assert made.collect_calls == ("track", "page")
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    assert read_settings() == made
    assert made.environment()["EBB_API_KEYS"] == ",".join(KEYS)


def test_keys_go_to_the_api_alone() -> None:
    webhook = {"name": "desk", "url": "https://example.org/hook", "secret": "whsec_" + "c2VjcmV0" * 4}
    made = Settings.model_validate({"api_keys": ",".join(KEYS), "webhooks": [webhook], "api_host": "0.0.0.0"})  # noqa: S104
    assert KEYS[0] in parts.api(made).environment["EBB_API_KEYS"]
    for part in (parts.worker(made), parts.learner(made), parts.simulator(made), parts.clickhouse(made)):
        text = " ".join(part.environment.values())
        assert not any(secret in text for secret in (*KEYS, webhook["secret"]))


def test_only_a_namespace_can_be_paced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A live worker that waited for a log to ask would never use a model."""
    monkeypatch.setenv("EBB_PACED", "true")
    with pytest.raises(SettingsError, match="paced is for `ebb replay`"):
        read_settings()
    monkeypatch.setenv("EBB_NAMESPACE", "shop")
    assert read_settings().paced
