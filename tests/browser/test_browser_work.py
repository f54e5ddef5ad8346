"""The live page as a retention lead works with it: calls, alerts, one customer, by keyboard, for every eye."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.support.sender import make_alert
from tests.support.serving import Api
from tests.support.watched import Watched

# The ratio of contrast of WCAG 2 of every visible text, that of the charts included, which axe leaves out.
CONTRAST = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length < 4 || colour[3] > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  const weak = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest("title, .hidden, .skip, noscript, option")) continue;
    const style = getComputedStyle(element);
    const [one, two] = [light(parse(element.closest("svg") ? style.fill : style.color)), light(ground(element))];
    const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    if (ratio < 4.5) weak.push(`${element.tagName} ${element.textContent.trim().slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return weak;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_has_no_accessibility_violation_and_every_text_has_contrast(
    browser: Browser, api: Api, scheme: str
) -> None:
    watched = Watched(browser, f"{api.url}/#/customers/c-90", color_scheme=scheme, reduced_motion="reduce")
    page = watched.page
    expect(page.locator("#accuracy path.line")).to_have_count(3)
    expect(page.locator("#over path.line")).to_have_count(3)
    expect(page.locator("#customer .mark")).to_have_count(1)
    axe = Axe()
    report = axe.run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})
    page.locator("#customer [data-close]").click()
    report_behind = axe.run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})
    assert report.violations_count == 0, report.generate_report()
    assert report_behind.violations_count == 0, report_behind.generate_report()
    assert page.evaluate(CONTRAST) == []
    watched.context.close()


def test_bands_show_their_change_over_time(watched: Watched) -> None:
    page = watched.page
    expect(page.locator("#over text[data-band=critical]")).to_have_text("critical 1")
    expect(page.locator(".band[data-band=critical]")).to_contain_text("in 7 days")
    expect(page.locator(".band[data-band=critical] .spark path")).to_have_count(1)


def test_calls_are_sorted_and_filtered_by_the_api(watched: Watched) -> None:
    page = watched.page
    rows = page.locator("#calls .row")
    expect(rows).to_have_count(10)
    expect(rows.first).to_have_attribute("data-customer", "<b>bold</b>")
    expect(rows.first).to_contain_text("No activity for 12 days")
    page.get_by_label("Band", exact=True).select_option("high")
    expect(rows.first).to_have_attribute("data-customer", "c-79")
    page.get_by_role("button", name="Chance", exact=True).click()
    expect(page.get_by_role("button", name="Chance", exact=True)).to_have_attribute("aria-pressed", "true")
    page.get_by_label("Country").select_option("DE")
    expect(rows).to_have_count(10)
    page.get_by_label("Band", exact=True).select_option("critical")
    expect(rows.first).to_have_attribute("data-customer", "<b>bold</b>")


def test_list_is_navigated_and_a_customer_opened_by_keyboard_alone(watched: Watched) -> None:
    page = watched.page
    expect(page.locator("#calls .row")).to_have_count(10)
    for key in ("j", "j", "ArrowDown", "k"):
        page.keyboard.press(key)
    second = page.locator("#calls .row").nth(1)
    expect(second).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#customer")).to_be_visible()
    expect(page).to_have_url(re.compile(rf"#/customers/{second.get_attribute('data-customer')}$"))
    page.keyboard.press("Escape")
    expect(page.locator("#customer")).to_be_hidden()
    expect(page).to_have_url(re.compile(r"^[^#]*$"))
    expect(second).to_be_focused()


def test_address_of_a_customer_opens_with_history_zones_and_alerts(browser: Browser, api: Api) -> None:
    watched = Watched(browser, f"{api.url}/#/customers/c-90", viewport={"width": 390, "height": 800})
    page = watched.page
    drawer = page.locator("#customer")
    expect(drawer.locator(".big")).to_have_text("90 %")
    expect(drawer.locator(".zone")).to_have_count(4)
    expect(drawer.locator(".mark")).to_have_count(1)
    expect(drawer).to_contain_text("Alerts (1)")
    assert page.evaluate("document.querySelector('#customer').scrollWidth") <= 390
    page.go_back()
    watched.context.close()


def test_flood_of_alerts_is_announced_in_few_sentences_and_counted_in_the_title(watched: Watched, api: Api) -> None:
    page = watched.page
    expect(page.locator("#link")).to_have_text("Live")
    page.evaluate(
        """() => {
          window.announcements = [];
          new MutationObserver(() => window.announcements.push(document.getElementById("announce").textContent))
            .observe(document.getElementById("announce"), { childList: true });
          Object.defineProperty(document, "hidden", { value: true, configurable: true });
        }"""
    )
    for index in range(12):
        api.sender.alert(make_alert(f"c-{index + 10}", alert_id=f"flood-{index}"))
    api.sender.flush()
    expect(page.locator("[data-alert^=flood]")).to_have_count(12)
    expect(page).to_have_title("(12 critical) Ebb")
    expect(page.locator("#announce")).to_contain_text("critical")
    assert len(page.evaluate("window.announcements")) <= 2


def test_alert_is_acknowledged_snoozed_and_closed(watched: Watched, api: Api) -> None:
    page = watched.page
    api.sender.alert(make_alert("c-91", alert_id="to-handle"))
    api.sender.flush()
    row = page.locator("[data-alert=to-handle]")
    row.get_by_role("button", name="Acknowledge").click()
    expect(row).to_contain_text("Acknowledged")
    row.get_by_role("button", name="Snooze").click()
    expect(row).to_contain_text("Snoozed until")
    row.get_by_role("button", name="Outcome").click()
    page.get_by_label("They stay").check()
    page.get_by_label("Note").fill("took the offer")
    page.get_by_role("button", name="Close the alert").click()
    expect(row).to_contain_text("Closed: they stay")
    expect(row).to_contain_text("took the offer")
    handling = next(alert for alert in api.get("/v1/alerts").json()["alerts"] if alert["alert_id"] == "to-handle")[
        "handling"
    ]
    assert (handling["status"], handling["outcome"]) == ("closed", "retained")
