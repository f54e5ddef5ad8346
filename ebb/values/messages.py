"""How a refusal shows a value."""

from ebb.errors import InvalidEventError

MOST_SHOWN = 80
"""Characters of a value that a message shows."""
_MOST_BITS = 1_000
"""Size of a whole number above which Python may refuse to write its digits."""


def shown(value: object) -> str:
    """Return a value on one line of at most 80 characters, text in quotes; anything that is no scalar by its type."""
    match value:
        case int() if value.bit_length() > _MOST_BITS:
            return "a number of hundreds of digits"
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            text = repr(value[: MOST_SHOWN + 1])
        case list() | tuple():
            return "a list"
        case dict():
            return "an object"
        case _:
            text = str(value)
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."


def wrong_type(field: str, value: object, rule: str) -> InvalidEventError:
    """Return the refusal of a value that is of another type than its field's."""
    return InvalidEventError(reason="wrong_type", what=f"`{field}` is {shown(value)}; {rule}.", field=field)
