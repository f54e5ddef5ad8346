"""Options that say how a file is written; `ebb replay` and `ebb evaluate` share them."""

from typing import Annotated, TypeVar, get_args

import typer

from ebb.errors import SettingsError
from producers.replay.delimited import DELIMITERS
from producers.replay.log import DateOrder, DecimalMark, ReadOptions, TimeUnit

CHARACTERS = {name: character for character, name in DELIMITERS.items()} | {"\\t": "\t"}
DECIMALS: dict[str, DecimalMark] = {"comma": ",", "point": ".", ",": ",", ".": "."}
DATES: dict[str, DateOrder] = {order: order for order in get_args(DateOrder)}
UNITS: dict[str, TimeUnit] = {unit: unit for unit in get_args(TimeUnit)}

Choice = TypeVar("Choice", bound=str)

Delimiter = Annotated[
    str | None,
    typer.Option("--delimiter", metavar="NAME", help="comma, semicolon, tab, pipe or another character; found."),
]
Encoding = Annotated[
    str | None,
    typer.Option("--encoding", metavar="NAME", help="Encoding of text, e.g. windows-1252, utf-16; found."),
]
Decimal = Annotated[
    str | None,
    typer.Option("--decimal", metavar="MARK", help="Before the fraction of numbers in text: point or comma; found."),
]
Dates = Annotated[
    str | None,
    typer.Option("--dates", metavar="ORDER", help="Order of dates such as 03/04/2026: dmy, mdy, ymd; found if sure."),
]
Unit = Annotated[
    str | None,
    typer.Option("--time-unit", metavar="UNIT", help="What times that are numbers count: s, ms, us, ns, excel; found."),
]


def read_options(
    delimiter: str | None = None,
    encoding: str | None = None,
    decimal: str | None = None,
    *,
    dates: str | None = None,
    unit: str | None = None,
    time_format: str | None = None,
) -> ReadOptions:
    """Return what the command line says about a file.

    Raises
    ------
    SettingsError
        If an option has none of its values.
    """
    character = None
    if delimiter is not None:
        character = CHARACTERS.get(delimiter.lower(), delimiter)
        if len(character) != 1 or character in '\r\n"' or character.isalnum():
            what = f"--delimiter {delimiter!r} is not a character that can stand between fields."
            raise SettingsError(what, "For example --delimiter semicolon, or --delimiter '~'.")
    return ReadOptions(
        delimiter=character,
        encoding=encoding,
        decimal=_chosen("--decimal", decimal, DECIMALS, "point or comma"),
        dates=_chosen("--dates", dates, DATES, "dmy, mdy or ymd"),
        unit=_chosen("--time-unit", unit, UNITS, "s, ms, us, ns or excel (a spreadsheet's days)"),
        time_format=time_format,
    )


def _chosen(option: str, given: str | None, known: dict[str, Choice], which: str) -> Choice | None:
    if given is None:
        return None
    if given.lower() not in known:
        what = f"{option} {given!r} is not {which}."
        raise SettingsError(what)
    return known[given.lower()]
