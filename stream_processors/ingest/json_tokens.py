"""JSON tokens in machine code: where strings, numbers and other values end, and their values.

Each text ends in a NUL, which no JSON contains, so no loop has to check for the end. Odd input (half of a surrogate
pair, a number of forty characters) is reported as no JSON, though some of it is: callers pass what is reported so to a
complete parser.
"""

import math

import numpy as np

from stream_processors.native.compile import native_helper, native_inline
from stream_processors.types import ByteArray

NONE = -1
"""Returned in place of an end if there is none."""
DEPTH = 60
"""Nesting depth that is followed; one bit of a number each."""
EXACT_DIGITS, EXACT_TENS = 15, 22
"""A number of so many digits, and a power of ten as great, are exact as 64-bit floats; so their product or quotient
is rounded once (Clinger 1990, How to read floating point numbers accurately)."""
LONGEST_NUMBER = 40
"""Characters of a number; a longer one may be none that a float holds."""
EXPONENT_DIGITS = 2
"""Digits of an exponent; one of more may be beyond what a float holds."""

QUOTE, BACKSLASH, COMMA, COLON, PLUS, MINUS, POINT = b'"\\,:+-.'
OPEN, CLOSE, OPEN_LIST, CLOSE_LIST = b"{}[]"
ZERO, NINE, LETTER_A, LETTER_E, LETTER_F, LETTER_N, LETTER_U = b"09aefnu"
LOWER = 0x20
"""The bit that makes an ASCII letter lower-case."""

_PLAIN = np.ones(256, np.bool_)
"""Bytes that stand for themselves within a string."""
_PLAIN[:32] = _PLAIN[128:] = _PLAIN[[QUOTE, BACKSLASH]] = False
_SPACE = np.zeros(256, np.bool_)
_SPACE[list(b" \t\n\r")] = True
_ESCAPED = np.zeros(256, np.uint8)
"""The character that an escape stands for, by the one after the backslash; 0 for none."""
_ESCAPED[list(b'"\\/bfnrt')] = list(b'"\\/\b\f\n\r\t')
_WORDS = np.array([list(word.ljust(5)) for word in (b"true", b"false", b"null")], np.uint8)
_WORD_SIZES = np.array([4, 5, 4])
_TENS = 10.0 ** np.arange(EXACT_TENS + 1)


@native_inline
def past_space(text: ByteArray, at: int) -> int:
    """Return the position of the first byte from `at` on that is no white space."""
    while _SPACE[text[at]]:
        at += 1
    return at


@native_helper
def _character_size(text: ByteArray, at: int) -> int:
    """Return the size of a character beyond ASCII, 0 if it is not UTF-8 (The Unicode Standard, table 3-7)."""
    first, second = text[at], text[at + 1]
    if 0xC2 <= first <= 0xDF:
        return 2 if second & 0xC0 == 0x80 else 0
    if 0xE0 <= first <= 0xEF:
        least = 0xA0 if first == 0xE0 else 0x80
        most = 0x9F if first == 0xED else 0xBF
        return 3 if least <= second <= most and text[at + 2] & 0xC0 == 0x80 else 0
    if 0xF0 <= first <= 0xF4:
        least = 0x90 if first == 0xF0 else 0x80
        most = 0x8F if first == 0xF4 else 0xBF
        if least <= second <= most and text[at + 2] & 0xC0 == 0x80 and text[at + 3] & 0xC0 == 0x80:
            return 4
    return 0


@native_helper
def _four_hex(text: ByteArray, at: int) -> int:
    """Return the value of four hexadecimal digits, or `NONE`."""
    found = 0
    for place in range(at, at + 4):
        letter = text[place]
        if ZERO <= letter <= NINE:
            digit = letter - ZERO
        elif LETTER_A <= letter | LOWER <= LETTER_F:
            digit = (letter | LOWER) - LETTER_A + 10
        else:
            return NONE
        found = found * 16 + digit
    return found


@native_helper
def _escape_size(text: ByteArray, at: int) -> int:
    """Return the bytes of an escape, both halves of a surrogate pair together; 0 if it is none."""
    if _ESCAPED[text[at + 1]]:
        return 2
    if text[at + 1] != LETTER_U:
        return 0
    code = _four_hex(text, at + 2)
    if code < 0 or 0xDC00 <= code <= 0xDFFF:
        return 0
    if code < 0xD800 or code > 0xDFFF:
        return 6
    if text[at + 6] != BACKSLASH or text[at + 7] != LETTER_U:
        return 0
    return 12 if 0xDC00 <= _four_hex(text, at + 8) <= 0xDFFF else 0


@native_helper
def string_end(text: ByteArray, at: int) -> tuple[int, int, int]:
    """Return where the string that begins here ends, its escapes, and how many of those are quotation marks.

    The end is `NONE` if it is no string.
    """
    escapes = quotes = 0
    while True:
        while _PLAIN[text[at]]:
            at += 1
        letter = text[at]
        if letter == QUOTE:
            return at, escapes, quotes
        if letter == BACKSLASH:
            size = _escape_size(text, at)
            escapes += 1
            quotes += text[at + 1] == QUOTE
        else:
            size = _character_size(text, at) if letter >= 0x80 else 0
        if size == 0:
            return NONE, 0, 0
        at += size


@native_helper
def number_end(text: ByteArray, at: int) -> tuple[int, float]:
    """Return where a number ends, or `NONE`, and its value, NaN where that takes more than a division."""
    begin = at
    negative = text[at] == MINUS
    at += negative
    whole = at
    mantissa, digits, tens = 0, 0, 0
    while ZERO <= text[at] <= NINE:
        mantissa = mantissa * 10 + (text[at] - ZERO)
        digits += digits > 0 or text[at] > ZERO
        at += 1
    if at == whole or (text[whole] == ZERO and at > whole + 1):
        return NONE, math.nan
    if text[at] == POINT:
        at += 1
        fraction = at
        while ZERO <= text[at] <= NINE:
            mantissa = mantissa * 10 + (text[at] - ZERO)
            digits += digits > 0 or text[at] > ZERO
            at += 1
        if at == fraction:
            return NONE, math.nan
        tens = fraction - at
    if text[at] | LOWER == LETTER_E:
        at += 1
        down = text[at] == MINUS
        at += down or text[at] == PLUS
        power, exponent = at, 0
        while ZERO <= text[at] <= NINE and at <= power + EXPONENT_DIGITS:
            exponent = exponent * 10 + (text[at] - ZERO)
            at += 1
        if not power < at <= power + EXPONENT_DIGITS:
            return NONE, math.nan
        tens += -exponent if down else exponent
    if at - begin > LONGEST_NUMBER or (negative and mantissa == 0):
        return NONE, math.nan
    if digits > EXACT_DIGITS or not -EXACT_TENS <= tens <= EXACT_TENS:
        return at, math.nan
    value = mantissa / _TENS[-tens] if tens < 0 else mantissa * _TENS[tens]
    return at, -value if negative else value


@native_helper
def word_end(text: ByteArray, at: int) -> int:
    """Return where `true`, `false` or `null` ends, or `NONE`."""
    for word in range(len(_WORDS)):
        size = 0
        while size < _WORD_SIZES[word] and text[at + size] == _WORDS[word, size]:
            size += 1
        if size == _WORD_SIZES[word]:
            return at + size
    return NONE


@native_helper
def _scalar_end(text: ByteArray, at: int) -> int:
    if text[at] == QUOTE:
        end = string_end(text, at + 1)[0]
        return end + 1 if end != NONE else NONE
    if text[at] == MINUS or ZERO <= text[at] <= NINE:
        return number_end(text, at)[0]
    return word_end(text, at)


@native_helper
def _next_value(text: ByteArray, at: int, objects: int) -> int:
    """Return where the next value of a list or object begins, after its name if it has one; `NONE` if nowhere."""
    at = past_space(text, at)
    if not objects & 1:
        return at
    if text[at] != QUOTE:
        return NONE
    end = string_end(text, at + 1)[0]
    if end == NONE:
        return NONE
    at = past_space(text, end + 1)
    return past_space(text, at + 1) if text[at] == COLON else NONE


@native_helper
def _closed(text: ByteArray, at: int, depth: int, objects: int) -> tuple[int, int, int]:
    """Return where the next comma may be, and the depth there, after all brackets that close here."""
    at = past_space(text, at) if depth else at
    while depth and text[at] == (CLOSE if objects & 1 else CLOSE_LIST):
        depth -= 1
        objects >>= 1
        at = past_space(text, at + 1) if depth else at + 1
    return at, depth, objects


@native_helper
def value_end(text: ByteArray, at: int) -> int:
    """Return where any value ends, or `NONE`.

    The brackets around a position are the bits of a number, the innermost the lowest: 1 for an object, 0 for a list.
    """
    depth, objects = 0, 0
    while at != NONE:
        if depth < DEPTH and text[at] in (OPEN, OPEN_LIST):
            depth += 1
            objects = objects * 2 + (text[at] == OPEN)
            at = past_space(text, at + 1)
            if text[at] not in (CLOSE, CLOSE_LIST):
                at = _next_value(text, at, objects)
                continue
        else:
            at = _scalar_end(text, at)
            if at == NONE:
                return NONE
        at, depth, objects = _closed(text, at, depth, objects)
        if depth == 0:
            return at
        at = _next_value(text, at + 1, objects) if text[at] == COMMA else NONE
    return NONE


@native_helper
def unescape(text: ByteArray, at: int, end: int, found: ByteArray, place: int) -> int:
    """Write the string that ends at `end` to `found` at `place`, without its escapes; return where that ends."""
    while at < end:
        if text[at] != BACKSLASH:
            found[place] = text[at]
            at, place = at + 1, place + 1
            continue
        if text[at + 1] != LETTER_U:
            found[place] = _ESCAPED[text[at + 1]]
            at, place = at + 2, place + 1
            continue
        code = _four_hex(text, at + 2)
        at += 6
        if 0xD800 <= code <= 0xDFFF:
            code = 0x10000 + (code - 0xD800) * 0x400 + _four_hex(text, at + 2) - 0xDC00
            at += 6
        if code < 0x80:
            found[place] = code
            place += 1
            continue
        more = 1 + (code > 0x7FF) + (code > 0xFFFF)
        found[place] = 0xFF00 >> (more + 1) & 0xFF | code >> 6 * more
        for nth in range(more):
            found[place + 1 + nth] = 0x80 | code >> 6 * (more - 1 - nth) & 0x3F
        place += 1 + more
    return place
