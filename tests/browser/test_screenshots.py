"""The page of a shop with some weeks of history, at desktop and phone width: nothing overflows, and README's pictures.

`make screenshots` keeps the pictures in `docs/images`; otherwise they go to the test's own folder.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from playwright.sync_api import Browser, expect

from clickhouse.store import Store
from ebb.contracts.scores import Reason
from ebb.settings import Settings
from tests.support.sender import (
    AS_OF,
    TopicSender,
    band_of,
    day_metric,
    make_alert,
    make_model,
    make_score,
    outcomes,
    past_scores,
    promised,
)
from tests.support.serving import Api, fresh, serving

CUSTOMERS = 400
DAYS = 28
TODAY = int(AS_OF.timestamp() // 86_400)
REASONS = (
    ("recency", "No activity for {} days; usually every {} days"),
    ("frequency", "{} sessions in 30 days; {} before"),
    ("support", "{} support contacts in {} days"),
    ("spend", "Spend down to {} from {} a month"),
)


def _reasons(rng: np.random.Generator, churn: float) -> list[Reason]:
    chosen = rng.choice(len(REASONS), 2, replace=False)
    reasons = []
    for index in chosen.tolist():
        feature, text = REASONS[index]
        low, high = sorted(rng.integers(2, 30, 2).tolist())
        numbers = (high, low) if feature in {"recency", "support"} else (low, high)
        reasons.append(Reason(feature=feature, contribution=round(2 * churn, 2), text=text.format(*numbers)))
    return reasons


def _fill(settings: Settings) -> None:
    """Publish scores and alerts, and store the history of a shop."""
    rng, sender, store = np.random.default_rng(7), TopicSender(settings), Store(settings)
    chances = rng.beta(1.1, 2.4, CUSTOMERS)
    past = []
    for number, churn in enumerate(chances.tolist()):
        customer, value = f"c-{1000 + number}", float(rng.gamma(2.0, 90.0))
        before = min(max(churn - float(rng.normal(0.05, 0.12)), 0.01), 0.99)
        score = make_score(
            customer,
            round(churn, 4),
            trend_7d=round(churn - before, 4),
            previous=round(before, 4),
            reasons=_reasons(rng, churn),
            value_at_risk=round(churn * value, 2),
            expected_gain=round(churn * 0.15 * value - 5, 2),
            country=str(rng.choice(["DE", "FR", "NL", "US"])),
            channel=str(rng.choice(["web", "app", "store"])),
        )
        sender.score(score)
        line = np.linspace(max(before - 0.2, 0.02), churn, DAYS) + rng.normal(0, 0.02, DAYS)
        days = [(TODAY - DAYS + day, float(np.clip(line[day], 0.01, 0.99))) for day in range(0, DAYS, 3)]
        past.append(past_scores(customer, days))
        band, former = band_of(churn), band_of(before)
        if band in {"high", "critical"} and former not in {band, "critical"}:
            alert = make_alert(
                customer,
                round(churn, 4),
                previous_band=former,
                why=f"Risk rose from {former} to {band} ({churn:.0%}). {score.reasons[0].text}.",
                value_at_risk=score.value_at_risk,
                raised_at=datetime.now(UTC) - timedelta(minutes=3 * (CUSTOMERS - number)),
            )
            sender.alert(alert)
    sender.model(make_model(trained_until=TODAY, examples=18_204, metrics={"roc_auc": 0.871, "log_loss": 0.402}))
    sender.flush()
    store.insert("scores", pa.concat_tables(past))
    for day in range(TODAY - DAYS, TODAY):
        chance = rng.beta(1.1, 2.4, 120)
        left = (rng.random(120) < chance).astype(int)
        store.insert("outcomes", outcomes(day, "served", chance.tolist(), left.tolist()))
        for candidate, level in (("served", 0.868), ("logistic", 0.871), ("recency", 0.79), ("count", 0.74)):
            store.insert("model_metrics", day_metric(day, candidate, level + float(rng.normal(0, 0.006)), 120))
    store.insert("expected_metrics", promised(TODAY + 14, 0.866, CUSTOMERS))
    store.close()


@pytest.fixture(scope="module")
def shop(stack: Settings) -> Iterator[Api]:
    settings = fresh(stack)
    _fill(settings)
    with serving(settings) as api:
        yield api


@pytest.mark.parametrize(("name", "size"), [("page", (1_360, 1_440)), ("phone", (390, 1_240))])
def test_page_of_a_shop_fits_the_screen(
    browser: Browser, shop: Api, tmp_path: Path, name: str, size: tuple[int, int]
) -> None:
    width, height = size
    with browser.new_context(viewport={"width": width, "height": height}) as context:
        page = context.new_page()
        page.goto(shop.url)
        expect(page.locator("#link")).to_have_text("Live")
        expect(page.locator("#customers")).to_have_text(f"{CUSTOMERS} known")
        expect(page.locator("#alerts li").first).to_be_visible()
        expect(page.locator("#accuracy svg").first).to_be_visible()
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"the page is {overflow} px wider than a screen of {width} px"
        expect(page.locator("#over svg").first).to_be_visible()
        expect(page.locator("#bands .band").last).to_contain_text("in 7 days")
        kept = os.environ.get("SCREENSHOTS")
        path = (Path(kept) if kept else tmp_path) / f"{name}.png"
        page.screenshot(path=path, animations="disabled")
        assert path.stat().st_size > 20_000, "an empty page makes a small picture"
