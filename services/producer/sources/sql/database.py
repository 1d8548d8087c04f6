"""A database as it is read: its engine, transactions that only read, and its faults in words.

The engine is SQLAlchemy's synchronous one, because the calls of a source are made in threads.
"""

import contextlib
import sqlite3
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from services.producer.sources.port import SourceUnavailable
from services.producer.sources.sql.row import digest_of, size_of
from shared.domain.addresses.sql_address import DRIVERS, parse
from shared.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

CONNECT_S: Final = 5
STATEMENT_S: Final = 60
CONNECTIONS: Final = 4
"""At once."""
_WRITES: Final = "the query writes; a source only reads: make it one SELECT"
_REFUSED: Final = "the user or the password is not accepted: check url and password"
_DENIED: Final = "permission is denied: grant SELECT to the user of the url"
_NO_TABLE: Final = "there is no such table"
_NO_COLUMN: Final = "there is no such column: check key, body and the other columns"
_AWAY: Final = "the server does not answer, or ended the connection"
_SLOW: Final = f"a statement took more than {STATEMENT_S} seconds"
_STATES: Final = (
    ("25006", _WRITES),
    ("0A000", _WRITES),
    ("28", _REFUSED),
    ("3D000", "there is no such database"),
    ("42P01", _NO_TABLE),
    ("3F000", "there is no such schema"),
    ("42703", _NO_COLUMN),
    ("42501", _DENIED),
    ("57014", _SLOW),
    ("53", "the server has no connection, memory or disk left"),
    ("42", "the server does not understand the query"),
)
"""Beginnings of SQLSTATE, the longer ones first."""
_NO_VALUE: Final = ("22", "42883", "42804", "42846")
"""Beginnings of SQLSTATE: data exceptions; no operator, no conversion between two types."""
_NUMBERS: Final = {
    1044: _DENIED,
    1045: _REFUSED,
    1049: "there is no such database",
    1054: _NO_COLUMN,
    1064: "the server does not understand the query",
    1142: _DENIED,
    1146: _NO_TABLE,
    1792: _WRITES,
    3024: _SLOW,
}
"""Of MariaDB and MySQL."""
_TEXTS: Final = (
    ("no such table", _NO_TABLE),
    ("no such column", _NO_COLUMN),
    ("locked", "the file is locked by another program"),
    ("readonly", _WRITES),
    ("unable to open", "the file is missing or cannot be read"),
    ("not a database", "the file is no database of SQLite"),
    ("malformed", "the file is damaged"),
    ("syntax error", "the server does not understand the query"),
    ("authentication failed", _REFUSED),
    ("no password supplied", _REFUSED),
    ("does not exist", "there is no such database or user"),
)
"""Parts of errors without a number; the texts themselves may hold values of rows."""


class NoSuchValue(SourceUnavailable):
    """A value of the statement is none of the type that it is compared with, or the type compares
    with no value."""


class Database:
    """
    Args:
        url: with its secrets.
        place: for people, in front of every fault.
    """

    def __init__(self, url: str, password: str | None, place: str) -> None:
        self._place = place
        self.dialect = parse(url).dialect
        self._engine = _engine(url, password)
        weakref.finalize(self, self._engine.dispose)  # the port of sources has no end

    @contextlib.contextmanager
    def reading(self) -> Iterator["Connection"]:
        """A transaction that cannot write.

        Raises:
            NoSuchValue, SourceUnavailable: whatever the database says.
        """
        from sqlalchemy import text
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._engine.connect() as connection:
                if connection.dialect.name == "postgresql":
                    connection.execution_options(postgresql_readonly=True)
                    connection.execute(text(f"SET LOCAL statement_timeout = {STATEMENT_S * 1000}"))
                yield connection
        except (SQLAlchemyError, sqlite3.Error, UnicodeError, OverflowError) as error:
            state = str(getattr(getattr(error, "orig", None), "sqlstate", None) or "")
            kind = NoSuchValue if state.startswith(_NO_VALUE) else SourceUnavailable
            raise kind(f"{self._place}: {in_words(error)}") from None


def in_words(error: BaseException) -> str:
    """The fault for people, without address, statement and values."""
    original: Any = getattr(error, "orig", None) or error
    state = str(getattr(original, "sqlstate", None) or "")
    if "data-modifying" in str(original):
        return _WRITES
    number = next(iter(original.args), None)
    if number in _NUMBERS:  # which tell more than their states
        return _NUMBERS[number]
    for begins, words in _STATES:
        if state.startswith(begins):
            return words
    said = "" if state else str(original)
    found = next((words for part, words in _TEXTS if part in said), "")
    code = state or (number if isinstance(number, int) and not 2000 <= number < 3000 else "")
    return found or (f"the database answers with error {code}" if code else _AWAY)


def _engine(url: str, password: str | None) -> "Engine":
    try:
        from sqlalchemy import create_engine
        from sqlalchemy.engine import make_url
        from sqlalchemy.pool import NullPool, QueuePool

        address = make_url(url)
        dialect = parse(url).dialect
        address = address.set(drivername=DRIVERS[dialect])
        if password is not None:
            address = address.set(password=password)
        options: dict[str, Any] = {"hide_parameters": True, "pool_pre_ping": True}
        options |= {"poolclass": QueuePool, "pool_size": CONNECTIONS, "max_overflow": 0}
        if dialect == "sqlite":
            file = f"file:{quote(address.database or '')}?mode=ro"
            # another file may take its name at any time
            options = {"hide_parameters": True, "poolclass": NullPool}
            options["creator"] = lambda: _open_file(file)
        elif dialect in ("mysql", "mariadb"):
            options["connect_args"] = {
                "connect_timeout": CONNECT_S,
                "read_timeout": STATEMENT_S,
                "init_command": "SET SESSION TRANSACTION READ ONLY",
            }
        else:
            options["connect_args"] = {"connect_timeout": CONNECT_S}
        return create_engine(address, **options)
    except ImportError:
        raise ConfigurationError(
            "a database needs SQLAlchemy and a driver. Fix: pip install 'instep[sql]'"
        ) from None


def _open_file(file: str) -> sqlite3.Connection:
    connection = sqlite3.connect(file, uri=True, timeout=CONNECT_S, check_same_thread=False)
    connection.execute("PRAGMA query_only = ON")
    connection.create_function("instep_digest", -1, digest_of, deterministic=True)
    connection.create_function("instep_size", -1, size_of, deterministic=True)
    return connection
