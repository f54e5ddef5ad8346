"""A customer of any id is found on the page, by its address and by the search field."""

from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, expect

from tests.support.flow import wait_for
from tests.support.sender import make_score
from tests.support.serving import Api
from tests.support.watched import Watched

AWKWARD = (".", "..", "../c-10", "a/b", "a%2Fb", "100%", "?x=1#y", " blank ", "\u202egnp.exe", "🙂" * 200, "\\", "a+b")


@pytest.mark.parametrize("customer", AWKWARD, ids=ascii)
def test_customer_of_any_id_has_an_address_and_is_found(browser: Browser, api: Api, customer: str) -> None:
    api.sender.score(make_score(customer, 0.37))
    api.sender.flush()
    wait_for("the score", lambda: api.get("/v1/customer/score", customer_id=customer).status_code == 200)
    watched = Watched(browser, f"{api.url}/#/customers/{quote(customer, safe='')}")
    page = watched.page
    drawer = page.locator("#customer")
    expect(drawer.locator(".big")).to_have_text("37 %")
    assert page.evaluate("document.querySelector('#customer-title').textContent") == customer
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    page.get_by_label("Customer id").fill(customer)
    page.keyboard.press("Enter")
    expect(drawer.locator(".big")).to_have_text("37 %")
    assert page.evaluate("document.querySelector('#customer-title').textContent") == customer
    watched.context.close()
