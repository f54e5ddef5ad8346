"""Recognise what identifies a person: properties by the words of their names, values by what they look like.

Customers are opaque ids on Ebb's topics, and SDKs send whatever a page has at hand. The rules stand in
`docs/collector.md`.
"""

import re
import unicodedata
from functools import lru_cache


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ANYWHERE = _words(
    "address addresses adresse anschrift apellido avatar birthdate birthday cardholder cellphone correo courriel "
    "customeremail cvc cvv direccion dob email emailaddress emails familyname firstname forename fullname geburtsdatum "
    "givenname iban ip ipaddress lastname latitude longitude maidenname middlename msisdn nachname nickname passport "
    "passwd password phonenumber postcode prenom shippingaddress billingaddress ssn strasse streetaddress surname "
    "telefon telefono telephone useremail username vorname"
)
"""Words that mark a name wherever in it they stand: `customer_email`, `shippingAddress`, `ip-address`."""
LAST = frozenset({"cell", "fax", "mail", "mails", "mobile", "phone", "phones", "street", "tel", "zip", "zipcode"})
"""Words that mark a name if they are its last, or before `number`: `home_phone`, not `phone_model`."""
NUMBERS = frozenset({"code", "line", "no", "nr", "num", "number"})
"""Words that may follow those."""
PERSONS = _words(
    "billing buyer card client contact customer display family father first full given guest holder last legal login "
    "maiden member middle mother nick owner passenger patient payer person real receiver recipient sender shipping "
    "spouse user"
)
"""Words before `name` that make it a person's: `first_name`, not `product_name`."""
PAIRS = frozenset(
    {("card", "number"), ("card", "no"), ("account", "number"), ("birth", "date"), ("of", "birth"), ("tax", "id"),
     ("social", "security"), ("postal", "code"), ("bank", "account")}
)  # fmt: skip
"""Words that mark a name together."""
ALONE = frozenset({"name", "title"})
"""Names that are a person's as traits, and a page's as properties."""
KEYS = frozenset({"barcode", "code", "ean", "gtin", "hash", "id", "isbn", "key", "sku", "upc"})
"""Last words of names whose values are long digits by nature, which are not taken for cards and telephones."""

MOST_KEPT = 100
"""Characters of a name whose answer is kept for the next call: what people send cannot fill the memory."""
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
HINT = re.compile(r"[@?#+%0-9\uff20]")
"""Without any of these, a text has nothing personal in it; quick to look for."""
_SUSPECT_PERSON = re.compile(r"[@+\uff20]|%40|[0-9]{9}|[0-9][ .-][0-9]|[0-9]\) ?[0-9]|[A-Za-z]{2}[0-9]{2}")
_SUSPECT = re.compile(rf"[?#]|{_SUSPECT_PERSON.pattern}")
"""Nor without any of these."""
_LOCAL_ENDS = frozenset("._%+-'\"")
"""What, beside letters and digits, may stand before the @ of an address."""
_EMAIL_DOMAIN = re.compile(r"(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,}")
_PHONE = re.compile(
    r"(?<!\w)\+[1-9](?:[ ().\-/]{0,2}[0-9]){7,14}(?!\w)"  # international
    r"|(?<![\w.\-])(?:\([0-9]{3}\) ?|[0-9]{3}[ .-])[0-9]{3}[ .-][0-9]{4}(?![\w.\-])",  # North American
    re.ASCII,
)
_CARD = re.compile(r"(?<![0-9.])[2-6](?:[ -]?[0-9]){13,18}(?![0-9.])", re.ASCII)
_ISSUERS = re.compile(
    r"4[0-9]{15}(?:[0-9]{3})?|5[1-5][0-9]{14}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}"
    r"|3[47][0-9]{13}|3(?:0[0-5]|[689][0-9])[0-9]{11}"
    r"|(?:6011|65[0-9]{2}|64[4-9][0-9]|35[2-8][0-9]|62[0-9]{2})[0-9]{12,15}",
    re.ASCII,
)
"""Visa, Mastercard, American Express, Diners, Discover, JCB, UnionPay, by first digits and length."""
_IBAN = re.compile(r"(?<![A-Za-z0-9])(?=([A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]){11,30}))", re.ASCII)
_IBAN_LENGTHS = (
    {"NO": 15, "BE": 16, "NL": 18, "DK": 18, "FI": 18, "SI": 19, "AT": 20, "EE": 20, "LT": 20, "LU": 20, "CH": 21,
     "HR": 21, "LI": 21, "LV": 21, "BG": 22, "DE": 22, "GB": 22, "IE": 22, "RS": 22, "AE": 23, "IL": 23, "CZ": 24,
     "ES": 24, "RO": 24, "SA": 24, "SE": 24, "SK": 24, "PT": 25, "FR": 27, "GR": 27, "IT": 27, "HU": 28, "PL": 28,
     "TR": 26, "UA": 29, "BR": 29, "MT": 31, "CY": 28, "IS": 26}
)  # fmt: skip
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{1,20}://)(\S*)")


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name in lower case: `shippingAddress2`, `shipping-address` are shipping, address."""
    if not name.isascii():
        name = "".join(one for one in unicodedata.normalize("NFKD", name.replace("ß", "ss")) if one.isascii())
    return tuple(word.lower() for word in _WORD.findall(name))


def judge_name(name: str) -> tuple[bool, bool]:
    """Return whether a property's name says that its value identifies a person; whether, that it is an id or a code."""
    return _judge_name(name) if len(name) <= MOST_KEPT else _judge_name.__wrapped__(name)


@lru_cache(maxsize=4_096)
def _judge_name(name: str) -> tuple[bool, bool]:
    words = words_of(name)
    return _is_personal(words), bool(words) and words[-1] in KEYS


def _is_personal(words: tuple[str, ...]) -> bool:
    if not ANYWHERE.isdisjoint(words):
        return True
    while len(words) > 1 and words[-1] in NUMBERS and words[-2:] not in PAIRS:
        words = words[:-1]
    if not words:
        return False
    return (
        words[-1] in LAST
        or (len(words) == 1 and words[0] in ALONE)
        or (words[-1] == "name" and words[-2] in PERSONS)
        or any(words[at : at + 2] in PAIRS for at in range(len(words) - 1))
        or "".join(words) in ANYWHERE  # e_mail_address
    )


def clean(text: str, *, key: bool = False) -> tuple[str, str | None]:
    """Return a text as it may be kept, empty if it may not, and what was withheld of it.

    Parameters
    ----------
    key
        The text is an id or a code: digits alone say nothing.

    Returns
    -------
    kept : str
    withheld : str or None
        `email`, `phone`, `card`, `iban`: the text has one in it; `url`: it has lost user, query and fragment; None.
    """
    if not (HINT.search(text) and _SUSPECT.search(text)):
        return text, None
    kept = without_query(text)
    kind = personal_kind(kept, key=key) if kept is text or _SUSPECT_PERSON.search(kept) else None
    if kind is not None:
        return "", kind
    return kept, None if kept == text else "url"


def without_query(text: str) -> str:
    """Return a text whose URLs have lost user, query and fragment; a path with a query loses it too."""
    if "?" not in text and "#" not in text and "@" not in text:
        return text
    if "://" in text:
        return _URL.sub(_bare_url, text)
    cut = _query_begins(text)
    if cut < len(text) and (text[0] == "?" or "/" in text[:cut]) and not any(one.isspace() for one in text):
        return text[:cut]
    return text


def _bare_url(found: re.Match[str]) -> str:
    scheme, rest = found.groups()
    rest = rest[: _query_begins(rest)]
    host, slash, path = rest.partition("/")
    return f"{scheme}{host.rpartition('@')[2]}{slash}{path}"


def _query_begins(text: str) -> int:
    """Return where the first ? or # is, the text's end if there is none."""
    query, fragment = text.find("?"), text.find("#")
    return min(len(text) if query < 0 else query, len(text) if fragment < 0 else fragment)


def personal_kind(text: str, *, key: bool = False) -> str | None:
    """Return what a text has in it that identifies a person: `email`, `phone`, `card`, `iban`; None for nothing."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    if has_email(text):
        return "email"
    if any(_is_iban(found[1]) for found in _IBAN.finditer(text)):
        return "iban"
    if key:
        return None
    if any(_is_card(found[0]) for found in _CARD.finditer(text)):
        return "card"
    return "phone" if _PHONE.search(text) else None


def has_email(text: str) -> bool:
    """Return whether there is an e-mail address in a text, also as URLs write it."""
    for mark in ("@", "%40"):
        at = text.find(mark)
        while at >= 0:
            before = text[at - 1] if at else " "
            if (before.isalnum() or before in _LOCAL_ENDS) and _EMAIL_DOMAIN.match(text, at + len(mark)):
                return True
            at = text.find(mark, at + 1)
    return False


def _is_card(text: str) -> bool:
    """Return whether digits are of a card: of an issuer's numbers, and right by Luhn's check (ISO/IEC 7812-1)."""
    digits = text.replace(" ", "").replace("-", "")
    if not _ISSUERS.fullmatch(digits):
        return False
    doubled = [2 * int(one) for one in digits[-2::-2]]
    return (sum(int(one) for one in digits[::-2]) + sum(one - 9 * (one > 9) for one in doubled)) % 10 == 0


def _is_iban(text: str) -> bool:
    """Return whether a text begins with an IBAN: of its country's length, and right by its check (ISO 13616)."""
    compact = text.replace(" ", "").upper()
    iban = compact[: _IBAN_LENGTHS.get(compact[:2], len(compact) + 1)]
    if len(iban) != _IBAN_LENGTHS.get(compact[:2]):
        return False
    turned = iban[4:] + iban[:4]
    return int("".join(str(int(one, 36)) for one in turned)) % 97 == 1
