"""What identifies a person never reaches the topic, whatever its name and wherever it stands."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebb.contracts.activity import decode_activity
from ebb.settings import Settings
from serving.collector.personal import clean, judge_name, words_of
from serving.collector.segment import CallMapper, Event, RequestTimes

NAMES = [
    "email", "customer_email", "customerEmail", "customer-email", "CustomerEMail", "customeremail", "emailAddress",
    "EMAIL_2", "e-mail", "eMail", "billing.email", "$email", "shippingAddress", "shipping_address", "billing-address",
    "address", "address_line1", "addressLine2", "ipAddress", "IPAddress", "ip", "client_ip", "phone", "home_phone",
    "phoneNumber", "phone_no", "Mobile", "customer_mobile", "mobileNumber", "telephone", "fax", "firstName",
    "first_name", "FIRSTNAME", "lastname", "user_name", "userName", "username", "customer name", "recipientName",
    "card_holder_name", "cardholder", "name", "cardNumber", "card_no", "cvv", "iban", "IBAN", "bank_account",
    "date_of_birth", "dateOfBirth", "birthDate", "birthday", "dob", "passport_number", "password", "zip", "zipCode",
    "postal_code", "postcode", "street", "street_no", "ssn", "latitude", "Vorname", "nachname", "telefon", "straße",
    "teléfono", "prénom", "título_email",
]  # fmt: skip
PLAIN = [
    "product_name", "productName", "category_name", "plan_name", "event_name", "screen_name_of_app", "phone_model",
    "headphone_type", "smartphone", "mobile_app_version", "zipper", "tip", "vip", "shipping", "addressed", "recipe",
    "namespace", "rename", "card_type", "card", "paypal", "street_style", "order_id", "sku", "revenue", "url", "path",
    "iphone",
]  # fmt: skip
EMAILS = [
    "jo@example.com", "Jo Doe <jo.doe+x@mail.example.co.uk>", "write to jo_doe@exämple.de now", "jo%40example.com",
    "mailto:jo@x.org", "\uff4ao\uff20example.com", "a@b.io", "/users/jo@example.com/orders",
    "https://shop.example/u/jo%40example.com",
]  # fmt: skip
PHONES = [
    "+49 170 1234567",
    "+491701234567",
    "call +1 (555) 123-4567!",
    "(555) 123-4567",
    "555-123-4567",
    "tel:+33.1.23.45.67.89",
]
CARDS = [
    "4111111111111111",
    "4111 1111 1111 1111",
    "5500-0000-0000-0004",
    "paid by 378282246310005",
    "6011111111111117",
]
IBANS = [
    "DE89370400440532013000",
    "DE89 3704 0044 0532 0130 00",
    "to GB82 WEST 1234 5698 7654 32 please",
    "nl91abna0417164300",
]
HARMLESS = [
    "", "a", "Blue shoe", "@jo", "@scope/package@1.2.3", "a @ b", "3 @ 4.50", "2026-03-01T14:05:31.250Z",
    "2026-03-01", "1772374000123", "1.2.3.4", "4111111111111112", "1234567890123456", "C#", "#ff0000", "why?",
    "50% off", "100 000 000", "AB12CD34", "ajs-5f0c2e", "5f0c2e8a-1111-4222-8333-444455556666", "Size 10 - 12",
    "DE00370400440532013000", "+1.5 %", "C++", "1+1", "10027-1",
]  # fmt: skip


def mapped(properties: dict[str, Any], settings: Settings | None = None, **call: Any) -> tuple[Event, dict[str, Any]]:
    mapper = CallMapper(settings or Settings(), latest=lambda _: 1e12)
    given_ = {"userId": "c-1", "event": "Product Viewed", "messageId": "m", "properties": properties, **call}
    event = mapper.event(given_, "track", RequestTimes(1772374000, None, lambda wall: wall))
    activity, _ = decode_activity(event.body, latest=1e12, max_bytes=65_536)
    return event, orjson.loads(bytes(activity.properties))


@pytest.mark.parametrize("name", NAMES)
def test_property_with_a_personal_name_is_withheld_and_told(name: str) -> None:
    event, properties = mapped({name: "secret", "other": 1})
    assert properties == {"other": 1}
    assert event.remarks.withheld == ["name"]
    assert f"`properties.{name}`" in event.remarks.notes[0]
    assert mapped({name: 170123})[1] == {}


@pytest.mark.parametrize("name", PLAIN)
def test_property_that_only_sounds_like_one_is_kept(name: str) -> None:
    event, properties = mapped({name: "5"})
    assert properties[name] == "5"
    assert event.remarks.withheld == []


def test_true_and_false_identify_nobody() -> None:
    assert mapped({"email_opt_in": True, "has_phone": False})[1] == {"email_opt_in": True, "has_phone": False}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (kind, text)
        for kind, texts in {"email": EMAILS, "phone": PHONES, "card": CARDS, "iban": IBANS}.items()
        for text in texts
    ],
)
def test_value_that_looks_personal_is_withheld_wherever_it_stands(kind: str, text: str) -> None:
    event, properties = mapped({"note": text, "plan": "gold"})
    assert properties == {"plan": "gold"}
    assert event.remarks.withheld == [kind]
    for place in ("channel", "category", "store", "currency", "payment_method"):
        event, properties = mapped({place: text})
        assert (properties, event.remarks.withheld) == ({}, [kind]), place
    event, properties = mapped({}, channel=text, category=text, context={"location": {"country": text}})
    assert (properties, event.remarks.withheld) == ({}, [kind] * 3)


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_value_is_kept_as_it_is(text: str) -> None:
    event, properties = mapped({"note": text})
    assert properties == {"note": text}
    assert event.remarks.notes == []


def test_long_digits_of_ids_are_no_cards_and_no_telephones() -> None:
    given_ = {"order_id": "4111111111111111", "sku": "555-123-4567", "eanCode": 4111111111111111}
    assert mapped(given_)[1] == {**given_, "product_id": "555-123-4567"}
    event, properties = mapped({"reference": 4111111111111111, "order_id": "jo@example.com"})
    assert (properties, event.remarks.withheld) == ({}, ["card", "email"])


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://shop.example/a?token=1&b=2", "https://shop.example/a"),
        ("https://shop.example/a#access_token=1", "https://shop.example/a"),
        ("https://jo:pw@shop.example:8080/a", "https://shop.example:8080/a"),
        ("https://jo:p@w@shop.example", "https://shop.example"),
        ("see https://x.example/?q=1 and http://y.example/#z", "see https://x.example/ and http://y.example/"),
        ("/reset?token=abc", "/reset"),
        ("shop.example/reset?token=abc#x", "shop.example/reset"),
        ("/a#/b?c", "/a"),
        ("app://open?id=7", "app://open"),
    ],
)
def test_url_loses_query_fragment_and_user(text: str, kept: str) -> None:
    event, properties = mapped({"url": text})
    assert properties == {"url": kept}
    assert event.remarks.withheld == ["url"]


def test_bare_query_is_withheld() -> None:
    assert mapped({"search": "?q=jo", "path": "/a"})[1] == {"path": "/a"}


def test_text_is_judged_before_it_is_cut() -> None:
    assert mapped({"note": "x" * 1_020 + " jo@example.com"})[1] == {}


def test_id_of_a_message_that_has_an_address_in_it_is_hashed_and_stays_the_same() -> None:
    first, second = (mapped({}, messageId="jo@example.com-17")[0] for _ in range(2))
    assert first.event_id == second.event_id
    assert b"jo@" not in first.body
    assert first.remarks.withheld == ["email"]


def test_names_may_be_carried_by_a_setting_and_their_values_are_judged_all_the_same() -> None:
    settings = Settings(carry_properties="email_campaign, name")
    event, properties = mapped({"email_campaign": "spring", "name": "jo@example.com", "email": "x"}, settings)
    assert properties == {"email_campaign": "spring"}
    assert event.remarks.withheld == ["email", "name"]


def test_nested_objects_and_lists_are_never_carried() -> None:
    person = {"contact": {"email": "jo@example.com"}, "people": [{"phone": "+49 170 1234567"}], "x": ["jo@example.com"]}
    event, properties = mapped(
        person, traits={"email": "jo@example.com"}, context={"traits": person, "ip": "203.0.113.9"}
    )
    assert properties == {}
    assert b"jo@" not in event.body


def test_a_call_has_few_notes_however_much_is_withheld() -> None:
    event, _ = mapped({f"email_{n}": "x" for n in range(500)})
    assert len(event.remarks.withheld) == 500
    assert len(event.remarks.notes) == 20


@given(st.text(max_size=80) | st.text("@.?#/:+%40 -jo1@x", max_size=80), st.booleans())
def test_any_text_is_judged_and_what_is_kept_is_judged_the_same(text: str, key: bool) -> None:
    kept, kind = clean(text, key=key)
    assert kept == text or kind is not None
    assert clean(kept, key=key)[1] in {None, "url"}


@pytest.mark.parametrize(
    "text", ["@" * 60_000, "a@" * 30_000, "1 " * 30_000, "+1" * 30_000, "://" * 20_000, "AB12" * 15_000, "a?" * 30_000]
)
def test_long_texts_are_judged_in_time_that_grows_as_they_do(text: str) -> None:
    clean(text)  # a pattern that backtracks would take minutes


@given(st.text(max_size=200))
def test_any_name_is_judged(name: str) -> None:
    judge_name(name)
    assert all(word.isalpha() and word.islower() for word in words_of(name))
