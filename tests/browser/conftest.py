"""A browser, and an API with something to show."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from clickhouse.store import Store
from ebb.settings import Settings
from tests.support.sender import (
    TopicSender,
    day_metric,
    make_alert,
    make_model,
    make_score,
    outcomes,
    past_scores,
    promised,
)
from tests.support.serving import Api, fresh, serving
from tests.support.watched import Watched

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# The page polls every few seconds, and a busy machine stalls for as long: the usual five seconds are not enough.
expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"there is no browser at {CHROMIUM}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=120_000)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def api(stack: Settings) -> Iterator[Api]:
    """An API with 100 customers, an alert, a champion and matured labels."""
    settings = fresh(stack)
    sender = TopicSender(settings)
    for index in range(100):
        sender.score(make_score(f"c-{index:02}", index / 100, trend_7d=(index - 50) / 100))
    sender.score(make_score("<b>bold</b>", 0.99, trend_7d=0.9))
    sender.alert(make_alert("c-90", alert_id="of-before"))
    sender.model(make_model())
    sender.flush()
    store = Store(settings)
    for day in (20_150, 20_151):
        store.insert("outcomes", outcomes(day, "served", [0.4, 0.8] * 20, [0, 1] * 20))
        for candidate, value in (("served", 0.91), ("logistic", 0.92), ("recency", 0.64)):
            store.insert("model_metrics", day_metric(day, candidate, value, 40))
    store.insert("expected_metrics", promised(20_152, 0.88, 500))
    store.insert("scores", past_scores("c-90", [(20_148, 0.2), (20_150, 0.5), (20_160, 0.9)]))
    store.close()
    with serving(settings) as running:
        yield running


@pytest.fixture
def watched(browser: Browser, api: Api) -> Iterator[Watched]:
    watched = Watched(browser, api.url)
    yield watched
    watched.context.close()
