"""One line that says how the running system does, from the API's summary."""

from typing import Any

import httpx

from ebb.settings import Settings


def fetch_summary(base: str, settings: Settings) -> dict[str, Any] | None:
    """Return `GET /v1/summary`, None if the API does not answer (yet)."""
    try:
        answer = httpx.get(f"{base}/v1/summary", headers=headers(settings), timeout=2, trust_env=False)
    except httpx.HTTPError:
        return None
    found: dict[str, Any] | None = answer.json() if answer.status_code == httpx.codes.OK else None
    return found


def headers(settings: Settings) -> dict[str, str]:
    """Return the header that carries the first API key, where keys are set."""
    key = settings.api_keys.split(",")[0].strip()
    return {"Authorization": f"Bearer {key}"} if key else {}


def line(summary: dict[str, Any]) -> str:
    """Put a summary in one line.

    >>> line({"event_time": "2026-03-01T05:00:00Z", "customers": 1200, "labels": {"matured": 0}})
    '2026-03-01 05:00 · 1,200 customers scored · no label matured yet'
    """
    told = [summary["event_time"][:16].replace("T", " "), f"{summary['customers']:,} customers scored"]
    bands = {band["band"]: band["customers"] for band in summary.get("bands") or ()}
    if bands:
        told.append(f"{bands.get('critical', 0):,} critical, {bands.get('high', 0):,} high")
    if flow := summary.get("pipeline"):
        told.append(f"{flow['events_per_second']:,.0f} events/s, lag {flow['lag_events']:,}")
    matured = (summary.get("labels") or {}).get("matured")
    told.append(f"{matured:,} labels matured" if matured else "no label matured yet")
    if (auc := realised_auc(summary)) is not None:
        told.append(f"AUC {auc:.3f}")
    return " · ".join(told)


def realised_auc(summary: dict[str, Any]) -> float | None:
    """Return the champion's realised ROC AUC, None before it can be told."""
    lines = (summary.get("accuracy") or {}).get("lines") or []
    found: float | None = next((told["latest"] for told in lines if told["role"] == "champion"), None)
    return found
