"""Every setting of Ebb, read from the environment as `EBB_…`.

One object serves all parts, so that a worker, the learner and the API started from one environment agree. Its fields
are declared in sections; a constructor takes the section that it uses.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ebb.clock import DAY, Clock
from ebb.contracts.models import Target, label_definition
from ebb.contracts.topics import Topics
from ebb.contracts.webhooks import Webhook
from ebb.errors import SettingsError
from ebb.loopback import LOOPBACK
from ebb.values.customer_ids import NO_CUSTOMERS

DEFAULT_KINDS: dict[str, str] = {
    "session": "session",
    "session_start": "session",
    "application_opened": "session",
    "signed_in": "session",
    "login": "session",
    "view": "view",
    "page": "view",
    "screen": "view",
    "product_viewed": "view",
    "product_list_viewed": "view",
    "products_searched": "view",
    "add_to_cart": "cart",
    "product_added": "cart",
    "purchase": "purchase",
    "order_completed": "purchase",
    "support": "support",
    "support_contact": "support",
    "cancel": "cancel",
    "cancellation": "cancel",
    "subscription_cancelled": "cancel",
}
"""Event type → kind. A type that is not listed counts as activity of kind `other`."""

_SECRET = {"API_KEYS", "CLICKHOUSE_PASSWORD", "WEBHOOKS"}
"""Settings whose value no message shows."""
LEAST_HOLD_SECONDS = 10.0
"""Real seconds for which nothing must have come, however compressed time is: a busy machine may pause for some."""
Positive = Annotated[float, Field(gt=0)]
Days = Annotated[int, Field(ge=1, le=120)]
MAX_LABEL_DELAY_DAYS = 5
"""The engine remembers 128 days: the longest horizon, the days still open, and so many more."""
"""Whole days; at most 120, the width of the activity bitmaps less the days still open to late events."""


LEAST_KEY = 16
"""Least characters of a key in `api_keys`."""


def _parted(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


CommaSeparated = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_parted), PlainSerializer(",".join, return_type=str)
]
"""Texts that the environment holds in one, with commas between; blanks around them and empty ones are left out."""


class _Section(BaseSettings):
    """Base of the sections."""

    model_config = SettingsConfigDict(env_prefix="EBB_", frozen=True, extra="ignore", use_attribute_docstrings=True)


class PlaceSettings(_Section):
    """Where things are, and how they are named and divided."""

    home: Path = Path(".ebb")
    """Data of the embedded runtime; `ebb reset` empties it."""
    lib: Path = Path(".ebb/lib")
    """Kafka's jars, fetched once and kept over a reset."""
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9_]{0,40}$")] = ""
    """Keeps topics, database, state and consumer groups apart: a replayed log never meets live customers."""
    kafka_bootstrap: str = "127.0.0.1:9092"
    """Kafka brokers as `host:port`, comma-separated."""
    clickhouse_url: str = "http://127.0.0.1:8123"
    """Address of ClickHouse's HTTP interface."""
    clickhouse_user: str = "default"
    """ClickHouse user; it creates the database and its tables."""
    clickhouse_password: str = ""
    """Password of that user; if it is empty, the embedded ClickHouse has that of the home, in `EBB_HOME/password`."""
    kafka_port: Annotated[int, Field(ge=1, le=65535)] = 9092
    """Port of the embedded Kafka."""
    kafka_heap_mb: Annotated[int, Field(ge=128)] = 512
    """Heap of the embedded broker, MiB."""
    clickhouse_port: Annotated[int, Field(ge=1, le=65535)] = 8123
    """Port of the embedded ClickHouse."""
    api_host: str = "127.0.0.1"
    """Address that the API listens on; anything but loopback asks for `api_keys`."""
    api_port: Annotated[int, Field(ge=1, le=65535)] = 8000
    """Port of the API and of the live page."""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port on which a worker or the learner serves `/metrics`; 0 serves none."""
    metrics_host: str = "127.0.0.1"
    """Address on which it does: whoever reaches it may read, without a key."""
    partitions: Annotated[int, Field(ge=1, le=1024)] = 8
    """Partitions of the topics, fixed when they are created: the most workers that can share the work."""
    replication: Annotated[int, Field(ge=1, le=7)] = 1
    """Copies of each topic; 3 on a cluster of three brokers or more."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Workers that `ebb up` starts."""

    @property
    def topics(self) -> Topics:
        """Names of the topics in this namespace."""
        return Topics(f"ebb.{self.namespace}." if self.namespace else "ebb.")

    @property
    def database(self) -> str:
        """ClickHouse database of this namespace."""
        return f"ebb_{self.namespace}" if self.namespace else "ebb"

    def group(self, part: str) -> str:
        """Name of the Kafka consumer group of a part (`worker`, `learner`, `api`)."""
        return f"{self.topics.prefix}{part}"


class TimeSettings(_Section):
    """Event time."""

    day_seconds: Positive = 86_400.0
    """Real seconds that one day of event time takes; below 86,400 time is compressed (the demo)."""
    clock_origin_wall: float = 0.0
    """Unix time at which event time stood at `clock_origin_event`; both 0: event time is wall time."""
    clock_origin_event: float = 0.0
    """Event time (Unix seconds) at `clock_origin_wall`."""
    allowed_lateness_seconds: Annotated[float, Field(ge=0, le=86_400)] = 21_600.0
    """How long (event time) a day stays open after its end, before its snapshot is taken and labels are read: as late
    as a phone that was offline or a nightly file may come. Later events still count, on days up to 30 back."""
    future_tolerance_seconds: Annotated[float, Field(ge=0)] = 86_400.0
    """How far ahead of the clock (event time) an event may claim to be before it is dead-lettered. It counts as if it
    had occurred when the broker received it."""
    idle_after_seconds: Annotated[float, Field(ge=0)] = 5.0
    """Real seconds without an event after which a worker moves its partition's time on; 0: never (replay)."""
    paced: bool = False
    """Only `ebb replay` sets it. The learner publishes after every boundary and says so; workers wait for its models
    where the log asks for them, and score when a day closes, by no clock: so scores follow from the log alone."""

    hold_after_hours: Annotated[float, Field(ge=0)] = 24.0
    """Hours of event time without any event from anybody after which time is held, until events come again: the source
    has stopped, its customers have not left. 0: never. Longer than your quietest weekend or holiday."""

    @property
    def hold_after(self) -> float:
        """Real seconds without any event after which time is held; 0: never."""
        if not self.hold_after_hours:
            return 0.0
        return max(self.hold_after_hours * 3_600 / self.clock.speed, LEAST_HOLD_SECONDS)

    @property
    def clock(self) -> Clock:
        """The clock of event time."""
        return Clock(self.clock_origin_wall, self.clock_origin_event, DAY / self.day_seconds)


class LabelSettings(_Section):
    """What a label and a feature are."""

    horizon_days: Days = 14
    """Days without activity after a snapshot that make its customer one who left."""
    purchase_horizon_days: Days = 7
    """Days after a snapshot within which a purchase counts."""
    label_delay_days: Annotated[int, Field(ge=0, le=MAX_LABEL_DELAY_DAYS)] = 0
    """Days that a label waits after its horizon, beyond the lateness, for events that come late (docs/time.md)."""
    lookback_days: Days = 60
    """Only customers active within this many days are snapshotted."""
    snapshot_every_days: Annotated[int, Field(ge=1, le=60)] = 1
    """Days from one snapshot to the next."""
    snapshot_limit: Annotated[int, Field(ge=1)] = 20_000
    """Most customers snapshotted per partition and boundary; above it a hash of customer and day samples."""
    churn_label: Literal["silence", "cancel"] = "silence"
    """What churn is: no activity within the horizon, or an explicit cancellation within it."""
    drift_pace: Annotated[int, Field(ge=1, le=16)] = 1
    """How many times as fast the past fades, for 14 boundaries after a model's error rose; 1: as ever."""
    tree_labels: Annotated[int, Field(ge=0, le=4_000)] = 0
    """Most labels of a boundary and target that River's tree and forest learn, a millisecond each, to be judged and
    never served; 0: neither is there. Fewer than 200 show little (docs/adr/0028). Another number makes the
    learner start again from the first label."""
    waiting_rows: Annotated[int, Field(ge=1)] = 500_000
    """Rows of snapshots and labels, some 250 bytes each, that the learner holds while a partition lags behind; then it
    reads no further in those that are two boundaries ahead."""
    kinds: dict[str, str] = Field(default_factory=lambda: dict(DEFAULT_KINDS))
    """Event type to kind, as a JSON object; a type that is not listed counts as activity of kind `other`."""
    minor_units: Annotated[int, Field(ge=1)] = 100
    """Minor units in one unit of money; amounts are summed as whole minor units."""

    @property
    def label_definitions(self) -> dict[Target, str]:
        """By target, what its label is: the rule and the horizon in days, e.g. `silence/14`."""
        return {
            "churn": label_definition(self.churn_label, self.horizon_days),
            "purchase": label_definition("purchase", self.purchase_horizon_days),
        }

    @field_validator("kinds")
    @classmethod
    def _known_kinds(cls, value: dict[str, str]) -> dict[str, str]:
        known = {"other", "session", "view", "cart", "purchase", "support", "cancel"}
        wrong = {kind for kind in value.values() if kind not in known}
        if wrong:
            message = f"kinds maps to {sorted(wrong)}; the kinds are {sorted(known)}"
            raise ValueError(message)
        return value


class EngineSettings(_Section):
    """How a worker processes activity."""

    max_event_bytes: Annotated[int, Field(ge=256)] = 65_536
    """Largest event accepted; a larger one is dead-lettered."""
    dedupe_events: Annotated[int, Field(ge=0)] = 200_000
    """Event ids remembered per partition to drop duplicates; 0 turns it off."""
    dedupe_days: Annotated[int, Field(ge=1, le=366)] = 7
    """Days of event time for which an event id is remembered, if `dedupe_events` newer ones do not displace it."""
    no_customers: CommaSeparated = NO_CUSTOMERS
    """Comma-separated texts, in whatever case, that are no customer's id: programs send them where they know none, and
    thousands of people would be one. Events with them are refused (docs/values.md); a blank id always is."""
    checkpoint_seconds: Positive = 2.0
    """Real seconds from one checkpoint to the next; a crash replays at most that much."""
    begin_anew: bool = False
    """Where a partition's state cannot be used (another layout, a damaged piece, a topic made anew), begin without it,
    at the first record that the activity topic holds. False: the worker stops and says what it found. For one start."""
    sweep_seconds: Positive = 5.0
    """Real seconds from one re-scoring of all customers to the next: how soon silence shows."""
    session_seconds: Annotated[float, Field(ge=6, le=300)] = 15.0
    """Real seconds for which a worker may be silent before Kafka gives its partitions to another."""
    sink_rows: Annotated[int, Field(ge=1)] = 100_000
    """Most rows in one ClickHouse insert."""
    poll_records: Annotated[int, Field(ge=1)] = 20_000
    """Most records in one polled batch of a partition."""

    @property
    def nobody(self) -> frozenset[str]:
        """`no_customers` in lower case, as ids are looked up in it."""
        return frozenset(text.lower() for text in self.no_customers)


class ScoreSettings(_Section):
    """Bands, alerts and what they are worth."""

    band_thresholds: tuple[float, float, float] = (0.3, 0.6, 0.8)
    """Churn probability from which a customer is medium, high, critical."""
    band_hysteresis: Annotated[float, Field(ge=0, lt=0.2)] = 0.05
    """How far below its threshold a score must fall before the customer leaves a band."""
    alert_cooldown_days: Annotated[float, Field(ge=0)] = 1.0
    """Days of event time within which a customer is not alerted about again."""
    publish_change: Annotated[float, Field(ge=0, le=1)] = 0.01
    """A sweep publishes a score only if it moved by this much since it was last published."""
    value_horizon_days: Positive = 90.0
    """Days of spend, at the customer's own mean rate so far, that count as value."""
    offer_cost: Annotated[float, Field(ge=0)] = 5.0
    """Cost of one offer to stay, in units of money."""
    save_rate: Annotated[float, Field(ge=0, le=1)] = 0.15
    """Share of leaving customers whom an offer keeps; expected gain = churn x save rate x value - offer cost."""

    @field_validator("band_thresholds")
    @classmethod
    def _rising(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if not 0 < value[0] < value[1] < value[2] < 1:
            message = f"band_thresholds must rise within (0, 1), not {value}"
            raise ValueError(message)
        return value


class ServingSettings(_Section):
    """The API, its streams and its webhooks."""

    api_keys: CommaSeparated = ()
    """Comma-separated keys that may do everything, of 16 characters or more; none: the API listens on loopback only."""
    require_key: bool = False
    """Ask for a key though `api_keys` is empty: one made by `ebb keys create`, as any beside `api_keys` may be."""
    rate_limit_requests: Annotated[int, Field(ge=1)] = 60_000
    """Requests a minute that one API process takes from one key."""
    rate_limit_events: Annotated[int, Field(ge=1)] = 600_000
    """Events a minute that the collector of one API process takes with one key."""
    collect_calls: CommaSeparated = ("track", "identify", "page", "screen", "group")
    """Calls to the collector that become events, comma-separated. Where servers send `identify` for all customers at
    night, leave it out: it would keep them all alive."""
    collect_email_ids: bool = False
    """Let the collector take customers whose id is an e-mail address. The address is then on topics, in tables and in
    what the API shows; False: such calls are refused."""
    carry_properties: CommaSeparated = ()
    """Comma-separated names of properties that the collector carries though their names look personal to it
    (`email_campaign`); what their values look like is judged all the same (docs/collector.md)."""
    allowed_origins: CommaSeparated = ()
    """Comma-separated origins whose pages may use the API and open the WebSocket, beside the API's own."""
    stream_clients: Annotated[int, Field(ge=1)] = 5_000
    """Most WebSocket and event-stream clients of one API process at once."""
    heartbeat_seconds: Positive = 15.0
    """Real seconds between two heartbeats of a stream."""
    drain_seconds: Annotated[float, Field(ge=0, le=300)] = 0.0
    """Real seconds for which a stopping API keeps serving while `/readyz` answers 503: as long as a load balancer takes
    to notice."""
    history_seconds: Annotated[int, Field(ge=1, le=60)] = 3
    """Real seconds for which the API waits for ClickHouse to connect and to answer. Past it, what needs history is
    answered without: null and named in `unavailable`, or 503."""
    webhooks: tuple[Webhook, ...] = ()
    """Receivers of alerts, as a JSON list of objects with `name`, `url`, `kind` (`standard` or `slack`), `secret`,
    `bands`; see docs/webhooks.md."""
    webhook_private: bool = False
    """Let webhooks be delivered to addresses that are not public: this machine, the own network."""
    webhook_attempts: Annotated[int, Field(ge=1, le=15)] = 8
    """Attempts at an alert before a webhook's receiver counts as dead for it; waits double from 1 s to 300 s."""

    @field_validator("api_keys", mode="before")
    @classmethod
    def _says_a_key(cls, value: object) -> object:
        if isinstance(value, str) and value and not _parted(value):
            message = "api_keys holds no key, only commas or blanks; leave it empty, or set a key"
            raise ValueError(message)
        return value

    @field_validator("api_keys")
    @classmethod
    def _long_keys(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if short := sum(len(key) < LEAST_KEY for key in value):
            message = f"{short} of the keys in api_keys is shorter than {LEAST_KEY} characters, and could be guessed"
            raise ValueError(message)
        return value

    @field_validator("webhooks")
    @classmethod
    def _named_once(cls, value: tuple[Webhook, ...]) -> tuple[Webhook, ...]:
        if len({one.name for one in value}) < len(value):
            message = "two webhooks have one name"
            raise ValueError(message)
        return value

    @field_validator("collect_calls")
    @classmethod
    def _known_calls(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = ["track", "identify", "page", "screen", "group"]
        if wrong := set(value) - set(known):
            message = f"collect_calls names {sorted(wrong)}; the calls are {known}"
            raise ValueError(message)
        return value


class ProcessSettings(_Section):
    """Logs and chance, alike in every process."""

    log_format: Literal["console", "json"] = "console"
    """Lines for a person, or JSON for a log collector."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe lines that are written."""
    seed: int = 7
    """Seed of everything random: the simulator, sampling, the models."""


SECTIONS: dict[str, type[_Section]] = {
    "Places": PlaceSettings,
    "Time": TimeSettings,
    "Labels and features": LabelSettings,
    "Stream engine": EngineSettings,
    "Scores": ScoreSettings,
    "Serving": ServingSettings,
    "Every process": ProcessSettings,
}
"""Sections by the title that documentation gives them."""
TUNING = frozenset(
    {
        "dedupe_events", "drift_pace", "heartbeat_seconds", "idle_after_seconds", "poll_records", "publish_change",
        "sink_rows", "snapshot_limit", "stream_clients", "tree_labels",
    }
)  # fmt: skip
"""Settings whose defaults were measured and that no operator need judge: documentation lists them apart."""


class Settings(
    PlaceSettings, TimeSettings, LabelSettings, EngineSettings, ScoreSettings, ServingSettings, ProcessSettings
):
    """Settings shared by all parts. Units are in the names: seconds, days (of event time), bytes, events."""

    @model_validator(mode="after")
    def _keys_before_open_door(self) -> Self:
        if self.api_host not in LOOPBACK and not (self.api_keys or self.require_key):
            message = (
                f"api_host is {self.api_host} but api_keys is empty; set EBB_API_KEYS, or EBB_REQUIRE_KEY and make "
                "keys by `ebb keys create`, or listen on 127.0.0.1"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _pace_is_a_replays(self) -> Self:
        if self.paced and not self.namespace:
            message = (
                "paced is for `ebb replay`, which sets it in a namespace of its own; live models would not be used"
            )
            raise ValueError(message)
        return self

    def environment(self) -> dict[str, str]:
        """Return the `EBB_…` variables from which a child process reads exactly these settings."""
        dumped = self.model_dump(mode="json")
        return {
            f"EBB_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
            for name, value in dumped.items()
        }


def read_settings() -> Settings:
    """Read the settings from the environment.

    Raises
    ------
    SettingsError
        With one line per wrong variable: its name, what it holds, what it may hold.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            where = "_".join(str(part) for part in problem["loc"][:1]).upper()
            name = f"EBB_{where}" if where else "the EBB_ settings"
            got = "a secret" if where in _SECRET else repr(str(problem["input"])[:80])
            lines.append(f"{name}: {problem['msg']} (got {got})")
        what = "Settings cannot be used: " + "; ".join(lines) + "."
        raise SettingsError(what, "Correct the environment and start again.") from None


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the settings of this process, read once."""
    return read_settings()
