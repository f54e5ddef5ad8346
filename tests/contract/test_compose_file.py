"""`docker compose up` is described rightly: real settings, real modules, pinned images, closed doors, wired scrapes."""

import importlib.util
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from ebb.contracts.topics import MAX_MESSAGE_BYTES
from ebb.errors import SettingsError
from ebb.settings import Settings, read_settings
from tests.support.project import ROOT

SECRETS = {"EBB_API_KEYS": "k" * 32, "EBB_CLICKHOUSE_PASSWORD": "c" * 32, "GRAFANA_PASSWORD": "g" * 32}
PARTS = ("worker", "learner", "api", "simulator")
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<word>[^}]*))?\}")


def _interpolated(node: Any, values: dict[str, str]) -> Any:
    """Resolve `${NAME:-default}` and `${NAME:?sentence}` as compose does; a missing required one raises."""
    if isinstance(node, dict):
        return {key: _interpolated(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_interpolated(value, values) for value in node]
    if not isinstance(node, str):
        return node

    def resolve(match: re.Match[str]) -> str:
        value = values.get(match["name"], "")
        if value or match["kind"] is None:
            return value
        if match["kind"] == "?":
            raise LookupError(match["name"], match["word"])
        return match["word"] or ""

    return _VARIABLE.sub(resolve, node)


@pytest.fixture(scope="module")
def raw() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return document


@pytest.fixture(scope="module")
def services(raw: dict[str, Any]) -> dict[str, dict[str, Any]]:
    interpolated: dict[str, dict[str, Any]] = _interpolated(raw, SECRETS)["services"]
    return interpolated


def _environment(service: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in service.get("environment", {}).items()}


def _settings(service: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"EBB_{name.upper()}", raising=False)
    for name, value in _environment(service).items():
        monkeypatch.setenv(name, value)
    return read_settings()


def test_compose_runs_every_part_and_service(services: dict[str, dict[str, Any]]) -> None:
    assert set(services) == {"kafka", "clickhouse", "prometheus", "grafana", *PARTS}
    assert services["worker"]["deploy"]["replicas"] == 2


@pytest.mark.parametrize("part", PARTS)
def test_compose_names_only_settings_that_exist(part: str, services: dict[str, dict[str, Any]]) -> None:
    known = {f"EBB_{name.upper()}" for name in Settings.model_fields}
    assert set(_environment(services[part])) <= known


@pytest.mark.parametrize("part", PARTS)
def test_compose_settings_are_accepted_and_point_at_its_own_services(
    part: str, services: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings(services[part], monkeypatch)
    assert settings.partitions == 64
    assert settings.day_seconds == 86_400
    assert (settings.clock_origin_wall, settings.clock_origin_event) == (0, 0)
    host, _, port = settings.kafka_bootstrap.partition(":")
    assert f"INTERNAL://{host}:{port}" in _environment(services["kafka"])["KAFKA_ADVERTISED_LISTENERS"]
    assert settings.clickhouse_url == "http://clickhouse:8123"
    assert settings.clickhouse_user == _environment(services["clickhouse"])["CLICKHOUSE_USER"]
    assert settings.clickhouse_password == _environment(services["clickhouse"])["CLICKHOUSE_PASSWORD"]


def test_compose_gives_all_parts_the_same_clock(raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"EBB_DAY_SECONDS": "20", "EBB_CLOCK_ORIGIN_WALL": "1700000000", "EBB_CLOCK_ORIGIN_EVENT": "1600000000"}
    services = _interpolated(raw, SECRETS | clock)["services"]
    clocks = set()
    for part in PARTS:
        settings = _settings(services[part], monkeypatch)
        clocks.add((settings.day_seconds, settings.clock_origin_wall, settings.clock_origin_event))
    assert clocks == {(20, 1_700_000_000, 1_600_000_000)}


@pytest.mark.parametrize("secret", SECRETS)
def test_compose_refuses_to_start_without_a_secret_and_says_how_to_set_it(secret: str, raw: dict[str, Any]) -> None:
    with pytest.raises(LookupError) as refused:
        _interpolated(raw["services"], SECRETS | {secret: ""})
    name, sentence = refused.value.args
    assert name == secret
    assert f"Set {secret} in .env" in sentence


def test_compose_api_would_be_refused_without_keys(
    services: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    api = services["api"]
    bare = {**api, "environment": {**api["environment"], "EBB_API_KEYS": ""}}
    with pytest.raises(SettingsError, match="api_keys is empty"):
        _settings(bare, monkeypatch)


@pytest.mark.parametrize("part", PARTS)
def test_compose_commands_are_modules_that_can_be_run(part: str, services: dict[str, dict[str, Any]]) -> None:
    python, flag, module = services[part]["command"]
    assert (python, flag) == ("python", "-m")
    spec = importlib.util.find_spec(module)
    assert spec is not None
    if spec.submodule_search_locations is not None:
        assert importlib.util.find_spec(f"{module}.__main__") is not None


@pytest.mark.parametrize(("part", "path"), [("worker", "/livez"), ("learner", "/livez"), ("api", "/readyz")])
def test_compose_asks_each_part_for_a_sign_of_life_where_it_listens(
    part: str, path: str, services: dict[str, dict[str, Any]]
) -> None:
    environment = _environment(services[part])
    port = environment["EBB_API_PORT" if part == "api" else "EBB_METRICS_PORT"]
    assert f"http://127.0.0.1:{port}{path}" in services[part]["healthcheck"]["test"][-1]


def test_compose_images_are_pinned_to_a_full_version(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+(\.\d+)?", service["image"]), name


def test_compose_kafka_is_the_version_that_the_embedded_runtime_pins(services: dict[str, dict[str, Any]]) -> None:
    jars = (ROOT / "ebb_cli" / "local" / "kafka-jars.txt").read_text(encoding="utf-8")
    pinned = re.search(r"org\.apache\.kafka:kafka_2\.13:([\d.]+\d)", jars)
    assert pinned is not None
    assert services["kafka"]["image"] == f"apache/kafka:{pinned[1]}"


def test_compose_kafka_takes_the_largest_record_that_ebb_writes(services: dict[str, dict[str, Any]]) -> None:
    kafka = _environment(services["kafka"])
    assert int(kafka["KAFKA_MESSAGE_MAX_BYTES"]) > MAX_MESSAGE_BYTES
    assert int(kafka["KAFKA_REPLICA_FETCH_MAX_BYTES"]) > MAX_MESSAGE_BYTES


def test_compose_kafka_listeners_are_each_mapped_and_internal_topics_fit_one_broker(
    services: dict[str, dict[str, Any]],
) -> None:
    kafka = _environment(services["kafka"])
    listeners = {entry.partition("://")[0] for entry in kafka["KAFKA_LISTENERS"].split(",")}
    advertised = {entry.partition("://")[0] for entry in kafka["KAFKA_ADVERTISED_LISTENERS"].split(",")}
    mapped = {entry.partition(":")[0] for entry in kafka["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")}
    assert listeners == mapped
    assert advertised == listeners - {kafka["KAFKA_CONTROLLER_LISTENER_NAMES"]}
    assert kafka["KAFKA_INTER_BROKER_LISTENER_NAME"] in advertised
    copies = {name: value for name, value in kafka.items() if name.endswith(("_REPLICATION_FACTOR", "_MIN_ISR"))}
    assert len(copies) == 5
    assert set(copies.values()) == {"1"}


def _published(services: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for service in services.values():
        for port in service.get("ports", []):
            address, host_port, container_port = port.split(":")
            yield address, host_port, container_port


def test_compose_publishes_on_loopback_alone_and_no_port_twice(services: dict[str, dict[str, Any]]) -> None:
    published = list(_published(services))
    assert {address for address, _, _ in published} == {"127.0.0.1"}
    assert max(Counter(port for _, port, _ in published).values()) == 1
    assert {port for _, port, _ in published} == {"8000", "3000", "9090", "8123", "9092"}


def test_compose_waits_for_health_and_every_service_has_a_check(services: dict[str, dict[str, Any]]) -> None:
    image_has_check = "HEALTHCHECK" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for name, service in services.items():
        assert "healthcheck" in service or (image_has_check and service["image"].startswith("ebb:")), name
        for condition in service.get("depends_on", {}).values():
            assert condition == {"condition": "service_healthy"}
    for part in PARTS:
        assert set(services[part]["depends_on"]) == {"kafka", "clickhouse"}


def test_compose_mounts_what_exists_and_declares_the_volumes_it_uses(
    raw: dict[str, Any], services: dict[str, dict[str, Any]]
) -> None:
    used = set()
    for service in services.values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), source
                assert mount.endswith(":ro")
            else:
                used.add(source)
    assert used == set(raw["volumes"])


def test_compose_gives_parts_no_privilege(services: dict[str, dict[str, Any]]) -> None:
    for part in PARTS:
        assert services[part]["cap_drop"] == ["ALL"]
        assert services[part]["security_opt"] == ["no-new-privileges:true"]


def test_compose_prometheus_scrapes_every_part_where_it_serves_metrics(services: dict[str, dict[str, Any]]) -> None:
    config = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    scraped: dict[str, str] = {}
    for job in config["scrape_configs"]:
        for entry in job.get("dns_sd_configs", []):
            scraped |= dict.fromkeys(entry["names"], str(entry["port"]))
        for static in job.get("static_configs", []):
            scraped |= dict(target.split(":") for target in static["targets"])
    for part in PARTS:
        environment = _environment(services[part])
        assert scraped[part] == environment["EBB_API_PORT" if part == "api" else "EBB_METRICS_PORT"]


def test_compose_grafana_reads_clickhouse_as_a_user_that_cannot_write(services: dict[str, dict[str, Any]]) -> None:
    users = ET.parse(ROOT / "grafana" / "clickhouse-reader.xml")  # noqa: S314 - a file of our own
    assert users.findtext("profiles/grafana/readonly") == "1"
    assert users.findtext("users/grafana/profile") == "grafana"
    password = users.find("users/grafana/password")
    assert password is not None
    secret = password.attrib["from_env"]
    assert _environment(services["clickhouse"])[secret] == _environment(services["grafana"])[secret] == "g" * 32
    sources = yaml.safe_load((ROOT / "grafana/provisioning/datasources/ebb.yml").read_text(encoding="utf-8"))
    source = next(entry for entry in sources["datasources"] if entry["uid"] == "ebb-clickhouse")
    assert source["jsonData"]["username"] == "grafana"
    assert source["secureJsonData"]["password"] == f"${secret}"
    assert source["jsonData"]["host"] in services
    assert source["type"] in services["grafana"]["environment"]["GF_PLUGINS_PREINSTALL_SYNC"]
