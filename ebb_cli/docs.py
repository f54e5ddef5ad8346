"""`ebb docs`: the reference pages, generated from the code so that they cannot differ from it.

`docs/features.md` comes from the feature catalogue, `docs/settings.md` from the settings model, `docs/metrics.md` from
the metrics module, `docs/problems.md` from the API's types of problems. A test holds the committed pages equal to what
this module writes.
"""

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import typer
from prometheus_client.metrics import MetricWrapperBase

from ebb import metrics
from ebb.contracts.features import FEATURES, HALF_LIVES, SCHEMA_HASH, WIDTH, WINDOWS
from ebb.settings import DEFAULT_KINDS, SECTIONS, TUNING, Settings
from serving.http.problem_types import KINDS

TUNING_NOTE = (
    "The defaults of these were measured (`make bench`) and may stay as they are. Change one only when a "
    "measurement of your own says so."
)
GENERATED = "<!-- Written by `make docs` from {source}. Change that, not this page. -->"
_SECTION = re.compile(r"^ {0,4}# (?P<title>\S.*)$")


@dataclass(frozen=True)
class Described:
    """A name assigned in source code, with the string under it and the comment that heads its section."""

    name: str
    meaning: str
    section: str


@dataclass(frozen=True)
class ExportedMetric:
    """A Prometheus metric of `ebb.metrics`."""

    name: str
    """As queries name it: a counter with `_total`, a histogram without suffix."""
    kind: str
    """`counter`, `gauge` or `histogram`."""
    labels: tuple[str, ...]
    meaning: str
    note: str
    section: str

    @property
    def series(self) -> tuple[str, ...]:
        """Names under which Prometheus stores it."""
        if self.kind == "histogram":
            return tuple(f"{self.name}_{suffix}" for suffix in ("bucket", "count", "sum"))
        return (self.name,)


def write_docs(folder: Path) -> list[Path]:
    """Write the reference pages into a folder.

    Parameters
    ----------
    folder
        Usually `docs`; created if it is not there.

    Returns
    -------
    list of Path
        The pages, whether or not their text changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pages: dict[str, Callable[[], str]] = {
        "features.md": features_page,
        "settings.md": settings_page,
        "metrics.md": metrics_page,
        "problems.md": problems_page,
    }
    written = []
    for name, page in pages.items():
        path = folder / name
        path.write_text(page(), encoding="utf-8")
        written.append(path)
    return written


def docs(folder: Path = Path("docs")) -> None:
    """Write the reference pages (features, settings, metrics, problems) from the code."""
    for path in write_docs(folder):
        typer.echo(f"wrote {path}")


def features_page() -> str:
    """Return the page of the feature catalogue."""
    rows = [
        (str(position), f"`{feature.name}`", feature.meaning, feature.unit, feature.group)
        for position, feature in enumerate(FEATURES)
    ]
    windows = ", ".join(str(days) for days in WINDOWS)
    half_lives = ", ".join(str(days) for days in HALF_LIVES)
    return _page(
        "ebb/contracts/features.py",
        "Features",
        f"What a model sees of a customer at a moment of event time: {WIDTH} numbers, in this order. Rolling windows "
        f"are {windows} days; decayed rates forget half in {half_lives} days. The group is the name under which a "
        "reason for a score is told. Schema hash, stored with every model, block and checkpoint: "
        f"`{SCHEMA_HASH}`; it changes when a feature is added, removed, moved or redefined.",
        _table(("#", "feature", "meaning", "unit", "group"), rows),
    )


def problems_page() -> str:
    """Return the page of the types of problems that the API returns."""
    rows = [
        (f"`/problems/{name}`", str(kind.status), f"{kind.title}. {kind.meaning}", kind.remedy)
        for name, kind in KINDS.items()
    ]
    return _page(
        "serving/http/problem_types.py",
        "Problems",
        "Every error of the API is a problem detail (RFC 9457). Its `type` is one of these, and an address where the "
        "API says the same; `detail` says what happened to what, `hint` what to do in this case, `errors` which "
        "parameter or field is wrong.",
        _table(("type", "status", "what it means", "what to do"), rows),
    )


def settings_page() -> str:
    """Return the page of the `EBB_` settings: a chapter per section, with the tuning settings last."""
    parts = []
    for title, section in SECTIONS.items():
        names = [name for name in section.model_fields if name not in TUNING]
        parts += [f"## {title}", _settings_table(names)]
    kinds = [(f"`{name}`", kind) for name, kind in DEFAULT_KINDS.items()]
    tuning = [name for section in SECTIONS.values() for name in section.model_fields if name in TUNING]
    parts += [
        "## Default of `EBB_KINDS`",
        _table(("event type", "kind"), kinds),
        "## Tuning",
        TUNING_NOTE,
        _settings_table(tuning),
    ]
    return _page(
        "ebb/settings.py",
        "Settings",
        "Every part reads its settings from environment variables of these names. Units are in the names; days are "
        "days of event time, other times real seconds unless said otherwise. A value that cannot be used stops the "
        "part at its start with a line that names the variable.",
        *parts,
    )


def _settings_table(names: Iterable[str]) -> str:
    schema: dict[str, dict[str, Any]] = Settings.model_json_schema()["properties"]
    rows = [
        (
            f"`EBB_{name.upper()}`",
            _holds(schema[name]),
            _default(Settings.model_fields[name].get_default(call_default_factory=True)),
            " ".join((Settings.model_fields[name].description or "").split()),
        )
        for name in names
    ]
    return _table(("variable", "holds", "default", "meaning"), rows)


def metrics_page() -> str:
    """Return the page of the Prometheus metrics."""
    parts = []
    exported = exported_metrics()
    for section in dict.fromkeys(metric.section for metric in exported):
        rows = [
            (
                f"`{metric.name}`",
                metric.kind,
                ", ".join(f"`{label}`" for label in metric.labels) or "none",
                f"{metric.meaning}. {metric.note}".strip(),
            )
            for metric in exported
            if metric.section == section
        ]
        parts += [f"## {section}", _table(("metric", "type", "labels", "meaning"), rows)]
    return _page(
        "ebb/metrics.py",
        "Metrics",
        "Each process serves what it does at `/metrics`: workers, learner and simulator on `EBB_METRICS_PORT`, the API "
        "on its own port. Times are in seconds; `prometheus/rules` records and alerts on them, `grafana/dashboards` "
        "shows them.",
        *parts,
    )


def exported_metrics() -> list[ExportedMetric]:
    """Return every metric of `ebb.metrics`, in the order of the module."""
    exported = []
    for entry in describe(metrics):
        metric = getattr(metrics, entry.name)
        if not isinstance(metric, MetricWrapperBase):
            continue
        family = next(iter(metric.describe()))
        name = f"{family.name}_total" if family.type == "counter" else family.name
        exported.append(
            ExportedMetric(
                name=name,
                kind=family.type,
                labels=tuple(metric._labelnames),
                meaning=family.documentation,
                note=entry.meaning,
                section=entry.section,
            )
        )
    return exported


def describe(module: ModuleType) -> list[Described]:
    """Return what a module assigns: each name with its docstring and section comment.

    The string under an assignment documents it for a reader of the code; Python itself does not keep it,
    so it is read from the source.
    """
    source = inspect.getsource(module)
    body: list[ast.stmt] = ast.parse(source).body
    return list(_described(body, source.splitlines()))


def _described(body: list[ast.stmt], lines: list[str]) -> Iterator[Described]:
    section, seen = "", 0
    for node, after in zip(body, [*body[1:], None], strict=True):
        for line in lines[seen : node.lineno - 1]:
            if match := _SECTION.match(line):
                section = match["title"]
        seen = node.end_lineno or node.lineno
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if not isinstance(target, ast.Name):
            continue
        meaning = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
            meaning = " ".join(after.value.value.split())
        yield Described(target.id, meaning, section)


def _holds(schema: dict[str, Any]) -> str:
    """Describe the values of a setting, from its JSON schema."""
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    words = {
        "integer": "whole number",
        "number": "number",
        "string": "path" if schema.get("format") == "path" else "text",
        "boolean": "`true` or `false`",
        "array": "JSON array",
        "object": "JSON object",
    }
    if schema["type"] == "array" and schema.get("items", {}).get("type") == "string":
        return "texts, with commas between"
    bounds = [
        f"{word} {schema[key]:,}"
        for key, word in (
            ("minimum", "at least"),
            ("exclusiveMinimum", "above"),
            ("maximum", "at most"),
            ("exclusiveMaximum", "below"),
        )
        if key in schema
    ]
    if "pattern" in schema:
        bounds.append(f"matching `{schema['pattern']}`")
    return ", ".join([words[schema["type"]], *bounds])


def _default(value: object) -> str:
    if value == DEFAULT_KINDS:
        return "see below"
    if isinstance(value, tuple) and not all(isinstance(one, str) for one in value):
        return f"`{list(value)}`"
    plain = ",".join(value) if isinstance(value, tuple) else str(value)
    text = f"{value:.10g}" if isinstance(value, float) else plain
    return f"`{text}`" if text else "empty"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _page(source: str, title: str, intro: str, *parts: str) -> str:
    return "\n\n".join([GENERATED.format(source=f"`{source}`"), f"# {title}", intro, *parts]) + "\n"
