"""Refuses, before the engine runs it, a statement that reaches files, programs or other servers past the grants.

The words of a statement are looked at first, which costs a tenth of a millisecond. Only if one of them could matter,
the engine itself is asked for the statement in its canonical form, in which a name is a name and text is text however
either was written, and that form decides: so a customer called `file` is no reason to refuse.
"""

import re
from collections.abc import Callable, Iterable

from clickhouse.embedded.access import DATABASE_ENGINES, ENGINES, TABLE_FUNCTIONS
from clickhouse.embedded.errors import ACCESS_DENIED, SUPPORT_IS_DISABLED, EngineError

_WORD = re.compile(rb"[a-z_][a-z0-9_]*")
_ESCAPED_NAME = (b"`", b'"', "\N{LEFT DOUBLE QUOTATION MARK}".encode())
"""What a name begins with in which an escape (`\\x66ile`) can stand for any letter."""
_OUTSIDE = frozenset({"infile", "outfile"})
"""Files of the machine, which are for ClickHouse's own client."""
_NEVER = frozenset({"file", "python", "eval", "kql", "disk", "table_disk"})
"""Names refused wherever they stand as one: `APPLY file` calls the function too; a disk is made before it is denied."""
_CANONICAL = re.compile(
    r"""
    (?P<text> '(?:\\.|''|[^'\\])*' )
  | (?P<quoted> `(?:\\.|``|[^`\\])*` | "(?:\\.|""|[^"\\])*" )
  | (?P<word> [A-Za-z_]\w* )
  | (?P<other> \S )
    """,
    re.DOTALL | re.VERBOSE,
)

Canonical = Callable[[bytes], str]
"""Returns a statement in its canonical form; raises `EngineError` if it is none, or is more than one."""


class Vetting:
    """The check of one engine's statements.

    Parameters
    ----------
    table_functions
        Names of all table functions that the engine has: what is not among the allowed ones is refused.
    """

    def __init__(self, table_functions: Iterable[str]) -> None:
        self._calls = {name.lower() for name in table_functions} - TABLE_FUNCTIONS
        # Without the word `engine`, a CREATE makes a table of the default one.
        self._suspects = {name.encode() for name in self._calls | _OUTSIDE | _NEVER | {"engine"}}

    def is_suspect(self, statement: bytes) -> bool:
        """Return whether the canonical form must decide: some word, or a name that could hide one, is there."""
        if b"\\" in statement and any(quote in statement for quote in _ESCAPED_NAME):
            return True
        return not self._suspects.isdisjoint(_WORD.findall(statement.lower()))

    def check(self, statement: bytes, canonical: Canonical) -> None:
        """Refuse a statement that leaves the engine.

        Parameters
        ----------
        statement
            Its text without rows.

        Raises
        ------
        EngineError
            If it does, or is not one statement.
        """
        if self.is_suspect(statement):
            self._check_canonical(canonical(statement))

    def _check_canonical(self, text: str) -> None:
        tokens = [_read(match) for match in _CANONICAL.finditer(text)]
        ends = [*tokens[1:], ("other", "", "")]
        for index, ((kind, name, raw), (_, following, _)) in enumerate(zip(tokens, ends, strict=True)):
            if kind != "name":
                continue
            if name in _OUTSIDE:
                what = f"{raw.upper()} is not allowed over HTTP."
                raise EngineError.of(SUPPORT_IS_DISABLED, "SUPPORT_IS_DISABLED", what)
            if name in _NEVER or (name in self._calls and following == "("):
                what = f"{raw} reaches outside of the engine, which the embedded ClickHouse does not do."
                raise EngineError.of(ACCESS_DENIED, "ACCESS_DENIED", what)
            if raw == "ENGINE" and following == "=":
                _check_engine(tokens[index + 2 : index + 3])


def _read(match: re.Match[str]) -> tuple[str, str, str]:
    """Return kind, lower-case name and raw text of a token."""
    raw = match.group()
    if match.lastgroup == "word":
        return "name", raw.lower(), raw
    if match.lastgroup == "quoted":
        return "name", re.sub(r"\\(.)", r"\1", raw[1:-1], flags=re.DOTALL).lower(), raw
    return match.lastgroup or "", raw, raw


def _check_engine(tokens: list[tuple[str, str, str]]) -> None:
    for kind, _, raw in tokens:
        if kind == "name" and raw.strip('`"') not in ENGINES | DATABASE_ENGINES:
            what = f"Engine {raw} is not allowed here; the embedded ClickHouse has {', '.join(sorted(ENGINES))}."
            raise EngineError.of(ACCESS_DENIED, "ACCESS_DENIED", what)
