"""ClickHouse's exceptions as its HTTP interface reports them: a code, a status, a text."""

import re
from typing import Self

from ebb.errors import EbbError

_CODE = re.compile(r"Code: (\d+)\. DB::")
_UNKNOWN_EXCEPTION = 1002

BAD_ARGUMENTS = 36
NOT_IMPLEMENTED = 48
SYNTAX_ERROR = 62
TOO_MANY_SIMULTANEOUS_QUERIES = 202
SOCKET_TIMEOUT = 209
NOT_ENOUGH_SPACE = 243
LIMIT_EXCEEDED = 290
SUPPORT_IS_DISABLED = 344
ACCESS_DENIED = 497
AUTHENTICATION_FAILED = 516

_STATUS = {
    # What the caller sent is wrong: arguments, syntax, unparsable values, mismatched types.
    400: {6, 8, 25, 26, 27, 36, 38, 41, 44, 52, 53, 56, 62, 69, 72, 117, 167, 168, 171, 376, 427, 441, 675, 676, 691},
    403: {192, 193, 194, 497, 512, 516},
    # What the caller named does not exist.
    404: {46, 47, 50, 60, 63, 73, 78, 81, 82, 115, 120, 511},
    408: {159},
    413: {305, LIMIT_EXCEEDED},
    501: {NOT_IMPLEMENTED},
    503: {76, SOCKET_TIMEOUT, 439},
}
_STATUS_BY_CODE = {code: status for status, codes in _STATUS.items() for code in codes}


class EngineError(EbbError):
    """A request that the engine or its HTTP interface refuses.

    Parameters
    ----------
    code
        ClickHouse's number of the error (`system.errors`).
    text
        The whole message, beginning with `Code: `.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @classmethod
    def of(cls, code: int, name: str, what: str) -> Self:
        """Make an error of the HTTP interface itself, in the format of the engine's own."""
        return cls(code, f"Code: {code}. DB::Exception: {what} ({name})")

    @classmethod
    def parse(cls, error: BaseException) -> Self:
        """Parse an error that the chDB library raised."""
        text = str(error)
        match = _CODE.search(text)
        if match is None:
            return cls(_UNKNOWN_EXCEPTION, f"Code: {_UNKNOWN_EXCEPTION}. DB::Exception: {text} (UNKNOWN_EXCEPTION)")
        return cls(int(match.group(1)), text[match.start() :].strip())

    @property
    def status(self) -> int:
        """HTTP status that a ClickHouse server gives this code."""
        return _STATUS_BY_CODE.get(self.code, 500)
