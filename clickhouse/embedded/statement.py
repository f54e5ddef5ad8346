"""Parse as much of a SQL text as HTTP needs: whether it is an INSERT, its format, where its data begin."""

import re
from dataclasses import dataclass
from enum import Enum

from clickhouse.embedded.errors import SYNTAX_ERROR, EngineError

_TOKEN = re.compile(
    rb"""
    (?P<skip> \s+ | --[^\n]* | \#[ !][^\n]* | /\*.*?\*/ )
  | (?P<quoted> '(?:\\.|''|[^'\\])*' | `(?:\\.|``|[^`\\])*` | "(?:\\.|""|[^"\\])*"
      | (?P<heredoc> \$[^$]*\$ ).*?(?P=heredoc) )
  | (?P<word> [A-Za-z_][\w$]* )
  | (?P<open> [({\[] )
  | (?P<close> [)}\]] )
  | (?P<end> ; )
  | (?P<other> . )
    """,
    re.DOTALL | re.VERBOSE,
)
_FORMAT_NAME = re.compile(rb"\s*(\w+)[ \t\r;]*\n?")


class StatementKind(Enum):
    """How to run a statement."""

    INSERT_DATA = "insert"
    """An INSERT whose rows follow in a format."""
    READ = "read"
    """A SELECT, whose result can be streamed."""
    OTHER = "other"


@dataclass(frozen=True)
class Statement:
    """A parsed SQL text."""

    kind: StatementKind
    sql: bytes
    """The whole text, or for `INSERT_DATA` what precedes `SETTINGS` and `FORMAT`."""
    settings: bytes = b""
    """For `INSERT_DATA`: the clause `SETTINGS …`, if any."""
    format: str | None = None
    """Format named in the text."""
    rows: bytes = b""
    """For `INSERT_DATA`: the rows that follow the statement."""

    @property
    def text(self) -> bytes:
        """The statement without its rows."""
        if self.kind is not StatementKind.INSERT_DATA:
            return self.sql
        return b"%b %b FORMAT %b" % (self.sql, self.settings, (self.format or "").encode())


def parse(text: bytes) -> Statement:
    """Parse a SQL text.

    Parameters
    ----------
    text
        One statement as ASCII-compatible bytes; after `INSERT … FORMAT <name>` any bytes may follow.

    Raises
    ------
    EngineError
        If there are several statements.
    """
    depth = 0
    first = b""
    ended = selects = False
    settings_at = 0
    named: str | None = None
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "skip":
            continue
        if kind == "end":
            ended = True
        elif ended:
            raise EngineError.of(SYNTAX_ERROR, "SYNTAX_ERROR", "Multi-statements are not allowed.")
        depth += (kind == "open") - (kind == "close")
        if kind != "word" or (depth and first):
            continue
        word = token.group().upper()
        first = first or word
        selects = selects or word in {b"SELECT", b"WITH"}
        if first == b"INSERT":
            if selects:
                continue
            if word == b"SETTINGS":
                settings_at = token.start()
            elif word == b"VALUES":
                return _insert(text, settings_at, token.start(), "Values", token.end())
        if word == b"FORMAT" and (name := _FORMAT_NAME.match(text, token.end())):
            named = name.group(1).decode()
            if first == b"INSERT":
                return _insert(text, settings_at, token.start(), named, name.end())
    kind_of = StatementKind.READ if first in {b"SELECT", b"WITH"} else StatementKind.OTHER
    return Statement(kind_of, text, format=named)


def _insert(text: bytes, settings_at: int, end: int, named: str, rows_at: int) -> Statement:
    """Return an INSERT whose head ends at `settings_at`, if it has settings, else at `end`."""
    head, clause = text[: settings_at or end], text[settings_at or end : end]
    return Statement(StatementKind.INSERT_DATA, head, clause, named, text[rows_at:])
