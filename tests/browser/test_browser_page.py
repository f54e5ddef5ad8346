"""The live page in a real browser, over a real broker: what a person sees."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Route, expect

from ebb.settings import Settings
from tests.support.flow import wait_for
from tests.support.sender import make_alert, make_score
from tests.support.serving import Api, fresh, serving
from tests.support.watched import Watched

ALERTS = "**/v1/alerts?page_size=60"


def test_page_shows_every_panel_without_errors_and_requests_no_other_host(watched: Watched, api: Api) -> None:
    page = watched.page
    expect(page.locator("#link")).to_have_text("Live")
    expect(page.locator("#customers")).to_have_text("101 known")
    expect(page.locator(".band[data-band]")).to_have_count(4)
    expect(page.locator(".band[data-band=critical] .big")).to_have_text("21")
    expect(page.locator("#histogram rect.bin")).to_have_count(20)
    expect(page.locator("#up li").first).to_contain_text("+90 points")
    expect(page.locator("#down li").first).to_contain_text("\N{MINUS SIGN}50 points")
    expect(page.locator("#health")).to_contain_text("Events arriving")
    assert watched.complaints == []
    assert watched.hosts == {f"127.0.0.1:{api.settings.api_port}"}


def test_text_of_a_customer_is_shown_as_text(watched: Watched) -> None:
    row = watched.page.locator("#up li").first
    expect(row.locator(".id")).to_have_text("<b>bold</b>")
    assert row.locator("b").count() == 0


def test_alert_appears_on_the_page_the_moment_it_is_raised(watched: Watched, api: Api) -> None:
    page = watched.page
    expect(page.locator("#link")).to_have_text("Live")
    expect(page.locator("[data-alert=of-before]")).to_be_visible()
    api.sender.alert(make_alert("c-42", alert_id="arriving", why="Risk rose: a test says so."))
    api.sender.flush()
    row = page.locator("#alerts li").first
    expect(row).to_have_attribute("data-alert", "arriving")
    expect(row).to_contain_text("a test says so")


def test_paused_alerts_wait_and_come_with_resume(watched: Watched, api: Api) -> None:
    page = watched.page
    expect(page.locator("#link")).to_have_text("Live")
    page.get_by_role("button", name="Pause").click()
    api.sender.alert(make_alert("c-43", alert_id="held-back"))
    api.sender.flush()
    resume = page.get_by_role("button", name="Resume (1 new)")
    expect(resume).to_be_visible()
    assert page.locator("[data-alert=held-back]").count() == 0
    resume.click()
    expect(page.locator("[data-alert=held-back]")).to_be_visible()


def test_alert_raised_while_the_page_opens_is_there_once_it_is_live(browser: Browser, api: Api) -> None:
    def late(route: Route) -> None:
        answer = route.fetch()
        api.sender.alert(make_alert("c-44", alert_id="in-between"))
        api.sender.flush()
        wait_for("the alert at the API", lambda: "in-between" in api.get("/v1/alerts").text)
        route.fulfill(response=answer)

    with browser.new_context() as context:
        page = context.new_page()
        page.route(ALERTS, late, times=1)
        page.goto(api.url)
        expect(page.locator("#link")).to_have_text("Live")
        assert page.locator("[data-alert=in-between]").count() == 1


def test_alert_that_arrives_during_a_refetch_stays(browser: Browser, api: Api) -> None:
    def late(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        body["alerts"][0]["why"] = "As answered."
        api.sender.alert(make_alert("c-45", alert_id="meanwhile"))
        api.sender.flush()
        expect(page.locator("[data-alert=meanwhile]")).to_be_visible()
        route.fulfill(response=answer, json=body)

    with browser.new_context() as context:
        page = context.new_page()
        # The test triggers the refetch of the list, in place of the timer of 15 s.
        page.add_init_script(
            "const every = setInterval;"
            "window.setInterval = (act, ms) => (ms === 15000 ? ((window.refetch = act), 0) : every(act, ms));"
        )
        page.goto(api.url)
        expect(page.locator("#link")).to_have_text("Live")
        page.route(ALERTS, late)
        page.evaluate("void refetch()")
        expect(page.locator("#alerts")).to_contain_text("As answered.")
        expect(page.locator("#alerts li").first).to_have_attribute("data-alert", "meanwhile")


def test_accuracy_is_stated_in_words_and_drawn_beside_the_baseline(watched: Watched) -> None:
    page = watched.page
    expect(page.locator("#trust")).to_contain_text("91 % of the time")
    expect(page.locator("#trust")).to_contain_text("Recency alone manages 64 %")
    expect(page.locator("#accuracy path.line")).to_have_count(3)
    expect(page.locator("#accuracy text.main").first).to_contain_text("Ebb 91 %")
    expect(page.locator("#accuracy text.main").last).to_contain_text("estimated 88 %")
    expect(page.locator("#labels")).to_contain_text("Calibration error")
    expect(page.locator("#calibration circle")).to_have_count(2)
    expect(page.locator("#labels")).to_contain_text("80")


def test_look_up_by_keyboard_shows_score_reasons_and_follows_it(watched: Watched, api: Api) -> None:
    page = watched.page
    page.keyboard.press("/")
    page.keyboard.type("c-77")
    page.keyboard.press("Enter")
    dialog = page.locator("#customer")
    expect(dialog.locator(".big")).to_have_text("77 %")
    expect(dialog).to_contain_text("No activity for 12 days; usually every 3 days")
    later = datetime(2025, 3, 20, tzinfo=UTC)
    api.sender.score(make_score("c-77", 0.31, as_of=later, scored_at=datetime.now(UTC) + timedelta(seconds=1)))
    api.sender.flush()
    expect(dialog.locator(".big")).to_have_text("31 %")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_look_up_of_an_unknown_customer_shows_the_problem(watched: Watched) -> None:
    page = watched.page
    page.fill("#customer-id", "nobody/at all?")
    page.get_by_role("button", name="Look up").click()
    expect(page.locator("#customer-body")).to_contain_text(re.compile("No score is held|names nothing|Not Found"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_a_phone_in_light_and_dark(browser: Browser, api: Api, scheme: str) -> None:
    watched = Watched(browser, api.url, viewport={"width": 360, "height": 780}, color_scheme=scheme)
    page = watched.page
    expect(page.locator("#histogram rect.bin")).to_have_count(20)
    expect(page.locator("#accuracy path.line")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    bright = sum(int(part) for part in re.findall(r"\d+", ground)[:3]) / 3
    assert bright > 200 if scheme == "light" else bright < 60
    watched.context.close()


def test_every_control_has_a_name_and_is_reached_by_tab(watched: Watched) -> None:
    page = watched.page
    expect(page.locator("#up li")).to_have_count(6)
    nameless = page.evaluate(
        """[...document.querySelectorAll("button, input, a, [role=img]")].filter((one) =>
          !(one.textContent.trim() || one.getAttribute("aria-label") || one.labels?.length)).length"""
    )
    assert nameless == 0
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "customer-id"


def test_empty_system_shows_what_it_waits_for(browser: Browser, stack: Settings) -> None:
    with serving(fresh(stack)) as empty:
        watched = Watched(browser, empty.url)
        page = watched.page
        expect(page.locator("#histogram")).to_contain_text("Waiting for the first scores")
        expect(page.locator("#alerts")).to_contain_text("No alerts yet")
        expect(page.locator("#up")).to_contain_text("Nobody yet")
        expect(page.locator("#trust")).to_contain_text("Waiting for the first customers")
        assert watched.complaints == []
        watched.context.close()


def test_page_asks_for_the_key_and_opens_with_it(browser: Browser, stack: Settings) -> None:
    with serving(fresh(stack, api_keys="open-sesame-and-more")) as guarded:
        watched = Watched(browser, guarded.url)
        page = watched.page
        expect(page.locator("#key")).to_be_visible()
        page.get_by_label("API key").fill("open-sesame-and-more")
        page.get_by_role("button", name="Open").click()
        expect(page.locator("#link")).to_have_text("Live")
        expect(page.locator(".band[data-band]")).to_have_count(4)
        assert "open-sesame-and-more" not in page.url
        watched.context.close()


def test_page_reconnects_after_the_server_was_down(browser: Browser, stack: Settings) -> None:
    settings = fresh(stack)
    with serving(settings) as first:
        watched = Watched(browser, first.url)
        expect(watched.page.locator("#link")).to_have_text("Live")
    page = watched.page
    expect(page.locator("#link")).to_have_text("Reconnecting…")
    expect(page.locator("#notice")).to_contain_text("does not answer")
    expect(page.locator("#notice")).to_contain_text("stands still")
    with serving(settings) as second:
        expect(page.locator("#link")).to_have_text("Live", timeout=60_000)
        second.sender.alert(make_alert("c-1", alert_id="after-the-gap"))
        second.sender.flush()
        expect(page.locator("[data-alert=after-the-gap]")).to_be_visible()
        expect(page.locator("#notice")).to_be_hidden()
        watched.context.close()
