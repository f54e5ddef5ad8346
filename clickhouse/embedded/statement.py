"""Parse as much of a SQL text as HTTP needs: whether it is an INSERT, its format, where its data begin."""

import re
from dataclasses import dataclass
from enum import Enum

from clickhouse.embedded.errors import SUPPORT_IS_DISABLED, SYNTAX_ERROR, EngineError

_TOKEN = re.compile(
    rb"""
    (?P<skip> \s+ | --[^\n]* | \#[ !][^\n]* | /\*.*?\*/ )
  | (?P<quoted> '(?:\\.|''|[^'\\])*' | `(?:\\.|``|[^`\\])*` | "(?:\\.|""|[^"\\])*" )
  | (?P<word> [A-Za-z_]\w* )
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


def parse(text: bytes) -> Statement:
    """Parse a SQL text.

    Parameters
    ----------
    text
        One statement as ASCII-compatible bytes; after `INSERT … FORMAT <name>` any bytes may follow.

    Raises
    ------
    EngineError
        If there are several statements, or one reads or writes files of the machine (`INFILE`, `OUTFILE`), which is
        for ClickHouse's own client.
    """
    depth = 0
    first = b""
    ended = False
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
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth -= 1
        elif kind == "word":
            word = token.group().upper()
            first = first or word
            if word in {b"INFILE", b"OUTFILE"} and depth == 0:
                what = f"{word.decode()} is not allowed over HTTP."
                raise EngineError.of(SUPPORT_IS_DISABLED, "SUPPORT_IS_DISABLED", what)
            if depth == 0 and first == b"INSERT" and word in {b"VALUES", b"SELECT", b"WITH"}:
                return Statement(StatementKind.OTHER, text)
            if depth == 0 and first == b"INSERT" and word == b"SETTINGS":
                settings_at = token.start()
            if depth == 0 and word == b"FORMAT" and (name := _FORMAT_NAME.match(text, token.end())):
                named = name.group(1).decode()
                if first == b"INSERT":
                    end = token.start()
                    head, clause = text[: settings_at or end], text[settings_at or end : end]
                    return Statement(StatementKind.INSERT_DATA, head, clause, named, text[name.end() :])
    kind_of = StatementKind.READ if first in {b"SELECT", b"WITH"} else StatementKind.OTHER
    return Statement(kind_of, text, format=named)
