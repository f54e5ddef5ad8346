"""How to read a log: which column is which field, what its events mean, over which days churn is measured.

A preset also states the published figures of its log, to print beside what the system reaches. Protocol of the
figures: cut T at 70 % of the time range; population, customers with an event in (T - look-back, T]; churn, none in
(T, T + horizon]; snapshots T, T + horizon, … pooled. Source: the README of the folder of recorded logs (issue 3).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ebb.errors import SourceError

IDENTITY = (
    "event_id", "customer_id", "type", "occurred_at", "amount", "currency", "channel", "country", "product_id",
    "category", "store", "payment_method", "discount", "session_id", "properties",
)  # fmt: skip
"""Fields that a log without a mapping is searched for, as columns of the same name."""
TEXT_FIELDS = frozenset(IDENTITY) - {"amount", "discount", "properties", "occurred_at"}
NUMBER_FIELDS = frozenset({"amount", "discount"})
CUT = 0.7
"""Share of the log's time range after which the test period of the protocol begins."""


@dataclass(frozen=True)
class Baseline:
    """A published figure of a simple or a batch-trained score on this log."""

    name: str
    roc_auc: float
    pr_auc: float


@dataclass(frozen=True)
class Preset:
    """A log that Ebb knows, or (`GENERIC`) one that it does not."""

    name: str
    mapping: Mapping[str, str] = field(default_factory=dict)
    """Field → column; `=text` is a constant. Empty: columns are named as the fields."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """Event type → kind, beside the defaults."""
    horizon_days: int = 14
    lookback_days: int = 60
    zone: str | None = None
    """Time zone of times that state none; None: such times are refused."""
    baselines: tuple[Baseline, ...] = ()

    @property
    def snapshot_every_days(self) -> int:
        """A tenth of the horizon, as the retrained baseline does; at least a day."""
        return max(self.horizon_days // 10, 1)


GENERIC = Preset("generic")

PRESETS: dict[str, Preset] = {
    "online_retail": Preset(
        "online_retail",
        # An invoice line is an event; the invoice number is kept as a property of its own.
        {
            "customer_id": "user_id",
            "occurred_at": "ts",
            "type": "event",
            "amount": "value",
            "product_id": "item",
            "country": "country",
            "order_id": "order_id",
            "quantity": "qty",
        },
        # A return is activity, but no purchase: its amount is negative and would hide the spend.
        {"purchase": "purchase", "return": "other"},
        horizon_days=30,
        # The look-back is not written in the protocol; recency .565 and count .625 come out with 60 days, and with
        # neither 30 (.538, .589) nor 90 (.587, .651).
        lookback_days=60,
        zone="UTC",
        baselines=(
            Baseline("recency", 0.565, 0.633),
            Baseline("count", 0.625, 0.674),
            Baseline("boosting, frozen", 0.720, 0.743),
            Baseline("boosting, retrained", 0.729, 0.757),
        ),
    ),
    "cdnow": Preset(
        "cdnow",
        {"customer_id": "user_id", "occurred_at": "ts", "type": "event", "amount": "value", "quantity": "qty"},
        {"purchase": "purchase"},
        horizon_days=60,
        lookback_days=60,
        zone="UTC",
        baselines=(
            Baseline("recency", 0.571, 0.651),
            Baseline("count", 0.633, 0.669),
            Baseline("boosting, frozen", 0.702, 0.747),
            Baseline("boosting, retrained", 0.714, 0.762),
        ),
    ),
    "gamelaunch": Preset(
        "gamelaunch",
        {"customer_id": "user_id", "occurred_at": "ts", "type": "event"},
        {"gameStarted": "session", "newPlayer": "other"},
        horizon_days=7,
        lookback_days=14,
        zone="UTC",
        baselines=(
            Baseline("recency", 0.850, 0.827),
            Baseline("count", 0.789, 0.748),
            Baseline("boosting, frozen", 0.855, 0.840),
            Baseline("boosting, retrained", 0.872, 0.861),
        ),
    ),
}


def preset_named(name: str | None) -> Preset:
    """Return a preset by name; None is the generic one.

    Raises
    ------
    SourceError
        If there is none of that name.
    """
    if name is None:
        return GENERIC
    if name not in PRESETS:
        what = f"There is no preset {name!r}."
        raise SourceError(what, f"The presets are {', '.join(PRESETS)}; map any other log by --map field=column.")
    return PRESETS[name]


def mapping_of(preset: Preset, pairs: list[str]) -> dict[str, str]:
    """Return the preset's mapping with `field=column` pairs over it; `field==text` sets a constant.

    Raises
    ------
    SourceError
        If a pair is not of that form.
    """
    mapping = dict(preset.mapping)
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if not name or not equals or column in ("", "="):
            what = f"--map {pair} is not of the form field=column (or field==text for a constant)."
            raise SourceError(what, "For example --map customer_id=user --map type==purchase.")
        mapping[name] = column
    return mapping
