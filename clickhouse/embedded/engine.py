"""The ClickHouse engine in this process (chDB): one engine per process and directory, one connection per request.

chDB runs the queries of different connections in parallel and releases Python's lock meanwhile. A connection costs
0.3 ms, so each request gets a fresh one: settings and the current database never leak from one request to the next,
as with a server and no session.
"""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import chdb

from clickhouse.embedded import access
from clickhouse.embedded.errors import BAD_ARGUMENTS, NOT_ENOUGH_SPACE, SYNTAX_ERROR, EngineError
from clickhouse.embedded.statement import Statement, StatementKind, parse
from clickhouse.embedded.vetting import Vetting
from ebb.errors import SetupError
from ebb.home_password import make_private

DEFAULT_FORMAT = "TabSeparated"
_STREAMED = {"Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow"}
"""Formats whose chunks can be concatenated; chDB repeats header and footer in each chunk of the others."""
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class EngineRequest:
    """One statement to run, with its body, parameters and settings."""

    sql: bytes
    body: bytes = b""
    """The rest of the statement, or the rows of an INSERT."""
    database: str = ""
    format: str = DEFAULT_FORMAT
    """Format of the result if the statement names none."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    whole: bool = False
    """Compute the whole result before the response begins, so that a late error still has its status."""


@dataclass
class EngineAnswer:
    """The result of a statement."""

    format: str
    first: bytes
    """All of the result, or its beginning."""
    rest: Generator[bytes, None, None] | None = None
    """What follows; must be exhausted or closed."""
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    seconds: float = 0.0


class EmbeddedEngine:
    """The engine over one directory.

    Parameters
    ----------
    directory
        Where the data are; created if absent.

    Raises
    ------
    SetupError
        If another process has the directory, or the engine does not open it.
    """

    def __init__(self, directory: Path) -> None:
        make_private(directory)
        self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            what = f"The ClickHouse data in {directory} are in use by another process."
            raise SetupError(what, "Stop it (`ebb down`), or set EBB_HOME to another folder.") from None
        self._incoming = directory / "incoming"
        # Rows that a killed process had not acknowledged.
        shutil.rmtree(self._incoming, ignore_errors=True)
        self._incoming.mkdir()
        config, users = directory / "config.xml", directory / "users.xml"
        users.write_text(access.users_xml())
        config.write_text(access.SERVER.format(users=escape(str(users.resolve()))))
        self._path = str((directory / "data").resolve())
        try:
            # This connection keeps the engine open between requests.
            self._keeper = _connect(f"{self._path}?config-file={config.resolve()}")
        except RuntimeError as error:
            os.close(self._lock)
            what = f"The ClickHouse engine does not open {directory}: {error}."
            raise SetupError(what, "Check disk space and rights; `ebb reset` empties the data.") from error
        self.version = self._ask("SELECT version()")
        self.timezone = self._ask("SELECT timezone()")
        self._vetting = Vetting(self._ask("SELECT name FROM system.table_functions").split())

    def close(self) -> None:
        """Stop the engine; no request may be under way."""
        self._keeper.close()
        os.close(self._lock)

    def execute(self, request: EngineRequest) -> EngineAnswer:
        """Run a statement; blocks. Thread-safe.

        Raises
        ------
        EngineError
            If the engine refuses it.
        """
        statement = parse(request.sql)
        if statement.kind is not StatementKind.INSERT_DATA and request.body:
            statement = parse(request.sql + b"\n" + request.body if request.sql else request.body)
            request = replace(request, body=b"")
        self._vetting.check(statement.text, self._canonical)
        with contextlib.ExitStack() as stack:
            connection = _connect(self._path)
            stack.callback(connection.close)
            try:
                self._prepare(connection, request)
                if statement.kind is StatementKind.INSERT_DATA:
                    return self._insert(connection, request, statement)
                named = statement.format or request.format
                if statement.kind is StatementKind.READ and named in _STREAMED and not request.whole:
                    answer = _stream(connection, request, statement, named)
                    if answer.rest is not None:
                        stack.pop_all()
                    return answer
                return _query(connection, request, statement, named)
            except (RuntimeError, chdb.ChdbError) as error:
                raise EngineError.parse(error) from None

    def _ask(self, sql: str) -> str:
        return str(self._keeper.query(sql, "TSVRaw").bytes(), "utf-8").strip()

    def _canonical(self, statement: bytes) -> str:
        """Return a statement in the engine's own words, asked by a connection that has no settings of the request."""
        with contextlib.closing(_connect(self._path)) as connection:
            try:
                result = connection.query(f"SELECT formatQuery({_quote(_text(statement))})", "TSVRaw")
            except (RuntimeError, chdb.ChdbError) as error:
                raise EngineError.parse(error) from None
        text = str(result.bytes(), "utf-8", "replace")
        if not text.strip():
            raise EngineError.of(SYNTAX_ERROR, "SYNTAX_ERROR", "The statement is empty.")
        return text

    def _insert(self, connection: Any, request: EngineRequest, statement: Statement) -> EngineAnswer:
        """Insert rows through a file: chDB's streaming insert reports success even if the table refused the rows."""
        with self._incoming_file(statement.rows, request.body) as file:
            head, clause = _text(statement.sql), _text(statement.settings)
            sql = f"{head} FROM INFILE {_quote(file.name)} COMPRESSION 'none' {clause} FORMAT {statement.format}"
            result = connection.query(sql, "Null", params=dict(request.parameters))
        return EngineAnswer(
            statement.format or "",
            b"",
            written_rows=result.rows_written(),
            written_bytes=result.bytes_written(),
            seconds=result.elapsed(),
        )

    @contextlib.contextmanager
    def _incoming_file(self, *parts: bytes) -> Iterator[Any]:
        """Write rows to a file of their own.

        Raises
        ------
        EngineError
            If the disk does not take them.
        """
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(tempfile.NamedTemporaryFile(dir=self._incoming))
                for part in parts:
                    file.write(part)
                file.flush()
            except OSError as error:
                # What is left in the buffer would be written when the file is closed, and fail again.
                with contextlib.suppress(OSError):
                    stack.close()
                what = f"Cannot write the rows that came to {self._incoming}: {error.strerror}."
                raise EngineError.of(NOT_ENOUGH_SPACE, "NOT_ENOUGH_SPACE", what) from error
            yield file

    def _prepare(self, connection: Any, request: EngineRequest) -> None:
        if request.database:
            connection.query(f"USE {_quote(request.database, '`')}", "Null")
        for name in request.settings:
            if not _SETTING.fullmatch(name):
                raise EngineError.of(BAD_ARGUMENTS, "BAD_ARGUMENTS", f"{name!r} is not the name of a setting.")
        if request.settings:
            pairs = ", ".join(f"{name} = {_quote(value)}" for name, value in request.settings.items())
            connection.query(f"SET {pairs}", "Null")


def _connect(path: str) -> Any:
    untyped: Any = chdb  # whether it has types depends on the build
    return untyped.connect(path)


def _quote(text: str, quote: str = "'") -> str:
    escaped = text.replace("\\", "\\\\").replace(quote, f"\\{quote}")
    return f"{quote}{escaped}{quote}"


def _text(sql: bytes) -> str:
    try:
        return sql.decode()
    except UnicodeDecodeError:
        raise EngineError.of(SYNTAX_ERROR, "SYNTAX_ERROR", "The statement is not UTF-8.") from None


def _query(connection: Any, request: EngineRequest, statement: Statement, named: str) -> EngineAnswer:
    result = connection.query(_text(statement.sql), request.format, params=dict(request.parameters))
    return EngineAnswer(
        named,
        result.bytes(),
        read_rows=result.storage_rows_read(),
        read_bytes=result.storage_bytes_read(),
        written_rows=result.rows_written(),
        written_bytes=result.bytes_written(),
        seconds=result.elapsed(),
    )


def _stream(connection: Any, request: EngineRequest, statement: Statement, named: str) -> EngineAnswer:
    handle = connection.send_query(_text(statement.sql), request.format, params=dict(request.parameters))
    chunks = _chunks(handle)
    first = next(chunks, b"")
    second = next(chunks, None)
    if second is None:
        return EngineAnswer(named, first)
    return EngineAnswer(named, first, _closing(connection, second, chunks))


def _chunks(stream: Any) -> Generator[bytes, None, None]:
    with stream:
        for chunk in stream:
            yield chunk.bytes()


def _closing(connection: Any, second: bytes, chunks: Generator[bytes, None, None]) -> Generator[bytes, None, None]:
    with contextlib.closing(connection), contextlib.closing(chunks):
        try:
            yield second
            yield from chunks
        except (RuntimeError, chdb.ChdbError) as error:
            raise EngineError.parse(error) from None
