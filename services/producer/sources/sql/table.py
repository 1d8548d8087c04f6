"""Rows of a table, or of a query, as a source of documents.

Blocking calls, to be made in a thread. A row is a document, its path is its key. The version of a
row is its watermark where the settings name one, else a digest of its columns, which the server
makes, so a listing carries no bodies.
"""

import difflib
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from services.producer.sources.port import (
    Body,
    Heard,
    Looked,
    Root,
    Scan,
    SourceUnavailable,
    Unreadable,
    hash_of,
)
from services.producer.sources.rules import LeftOut, Rules
from services.producer.sources.sql.database import Database, NoSuchValue
from services.producer.sources.sql.debezium import ALL_ROWS
from services.producer.sources.sql.keys import path_of, text_of, texts_of
from services.producer.sources.sql.row import (
    DIGEST,
    SIZE,
    Columns,
    data_of,
    given_of,
    place_of,
    version_of,
)
from shared.domain.errors import DocumentRefused
from shared.ports import Selection
from shared.settings import SqlSettings

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, FromClause

ROWS: Final = 1000
"""Of a listing that are in memory at once."""
AT_ONCE: Final = 200
"""Rows that one statement looks at."""
LOOKS: Final = 3
"""At one row by its key: it may be deleted between two statements."""
EARLIER: Final = timedelta(seconds=2)
"""Before the newest time stamp; clocks of databases may count in seconds."""
_NO_KEY: Final = re.compile(r"[\x00\ud800-\udfff]")
"""Characters that no database stores."""
_INTEGERS: Final = range(-(2**63), 2**64)
_IN_SQLITE: Final = range(-(2**63), 2**63)
_INEXACT: Final = (float, timedelta)
"""Types of MariaDB and MySQL with values that the driver spells otherwise than the server."""
_PARSERS: Final[Mapping[type, Callable[[str], object]]] = {
    int: int,
    float: float,
    Decimal: Decimal,
    UUID: UUID,
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    bytes: bytes.fromhex,
    bool: lambda text: text == "true",
}


class SqlSource:
    """Implements `services.producer.sources.port.DocumentSource`."""

    def __init__(self, database: Database, settings: SqlSettings) -> None:
        self.rules = Rules()
        self.max_bytes = settings.max_bytes
        self._place = settings.place
        self._database, self._settings = database, settings
        self._is_sqlite = database.dialect == "sqlite"
        self._is_postgres = database.dialect.startswith("postgres")
        self._columns = Columns(
            key=settings.key,
            body=settings.body,
            title=settings.title,
            metadata=settings.metadata,
            watermark=settings.watermark,
            static_score=settings.static_score,
            is_active=settings.is_active,
            body_type=settings.body_type,
        )
        self._has_all = False
        self._like: Sequence[Any] | None = None
        """The key of one row, for the types of its values."""

    @property
    def place(self) -> str:
        return self._place

    def identity(self) -> Root:
        """The columns are compared with the settings when the database is first asked."""
        if not self._has_all:
            self._compare_columns()
        return place_of(self._place)

    def scan(self) -> Scan:
        result, twice = Scan(), set[str]()
        for row in self._listed():
            try:
                path = path_of(dict(row), self._columns.key)
            except DocumentRefused as refusal:
                named = ", ".join(f"{key}={text_of(row[key])}" for key in self._columns.key)
                result.problems[named[:200]] = str(refusal)
                continue
            if path in result.files:
                twice.add(path)
            result.files[path] = version_of(row, self._columns, path)
        for path in twice:
            result.problems[path] = "two rows have this key: check `key` of the source"
        return result

    def look_at(self, known: Collection[str], paths: Collection[str]) -> Looked:
        found = Looked(self.identity())
        rest = iter(sorted(paths))
        while some := list(islice(rest, AT_ONCE)):
            self._look(some, found)
        told = found.present.keys() | found.problems.keys()
        found.vanished.extend(sorted(path for path in paths if path in known and path not in told))
        return found

    def read(self, path: str, *, growing: bool = False) -> Body | None:  # noqa: ARG002
        """One statement reads content and version of one moment."""
        self.identity()
        read_at_ns = time.time_ns()
        try:
            row = next((r for _, r in self._rows([path], self._reading_columns())), None)
        except NoSuchValue as error:
            raise Unreadable(f"{path}: {self._not_compared(error)}") from None
        if row is None:
            return None
        version, url = version_of(row, self._columns, path), f"{self._place}/{path}"
        try:
            given = given_of(row, self._columns)
        except ValueError:
            score = self._columns.static_score
            raise Unreadable(f"{path}: column {score} is no number") from None
        size: Any = row[SIZE]
        if int(size) > self.max_bytes:
            instead = hash_of(f"{version}".encode(), given)
            return Body(version, read_at_ns, instead, None, url, given=given)
        data = data_of(row, self._columns)
        return Body(version, read_at_ns, hash_of(data, given), data, url, given=given)

    def opened(self, blocked: Collection[str]) -> tuple[bool, bool]:
        return bool(blocked), False

    def unwanted(self, paths: Collection[str]) -> dict[str, LeftOut]:  # noqa: ARG002
        return {}

    def explain(self, path: str) -> Selection:
        if not path:
            return Selection(exists=True, is_folder=True)
        return Selection(exists=path in self.look_at((), [path]).present)

    def meaning(self, names: Collection[str]) -> Heard:
        """Names are paths, or ALL_ROWS."""
        count = len(self._columns.key)
        paths = {name: None for name in names if name != ALL_ROWS and texts_of(name, count)}
        return Heard(paths, root=ALL_ROWS in names)

    def newest(self) -> object:
        """A little less than the largest watermark; None: there is no row with one."""
        from sqlalchemy import column, func, select

        assert self._columns.watermark is not None
        with self._database.reading() as connection:
            largest: Any = func.max(column(self._columns.watermark))
            found = connection.execute(select(largest).select_from(self._rows_of())).scalar()
        return found - EARLIER if isinstance(found, datetime) else found

    def newer(self, than: object) -> dict[str, Any]:
        """Path to watermark of rows with a larger watermark; of all rows with one for None."""
        from sqlalchemy import bindparam, column, select

        mark = self._columns.watermark
        assert mark is not None
        bound = (
            column(mark) > bindparam("than", than)
            if than is not None
            else column(mark).is_not(None)
        )
        columns = self._named((*self._columns.key, mark))
        found = dict[str, Any]()
        with self._database.reading() as connection:
            statement = select(*columns).select_from(self._rows_of()).where(bound)
            for row in connection.execute(statement).mappings():
                try:
                    found[path_of(dict(row), self._columns.key)] = row[mark]
                except DocumentRefused:
                    continue  # a listing tells
        return found

    # -- inside ------------------------------------------------------------------------------------

    def _rows_of(self) -> "FromClause":
        from sqlalchemy import table, text

        if self._settings.table is not None:
            schema, _, name = self._settings.table.rpartition(".")
            return table(name, schema=schema or None)
        # a colon would name a parameter; a comment at the end must not hide what follows
        query = (self._settings.query or "").strip().removesuffix(";").replace(":", r"\:")
        return text(f"{query}\n").columns().subquery("instep_rows")

    def _compare_columns(self) -> None:
        from sqlalchemy import select, text

        with self._database.reading() as connection:
            asked = select(text("*")).select_from(self._rows_of()).limit(0)
            there = list(connection.execute(asked).keys())
        for name in self._columns.all:
            if name not in there:
                near = difflib.get_close_matches(name, there, 1)
                hint = f'; did you mean "{near[0]}"?' if near else f"; there are {', '.join(there)}"
                raise SourceUnavailable(f'{self._place}: there is no column "{name}"{hint}')
        self._has_all = True

    def _listed(self) -> Iterator[Mapping[str, Any]]:
        from sqlalchemy import select

        self.identity()
        self._compare_keys()
        with self._database.reading() as connection:
            statement = select(*self._listing_columns()).select_from(self._rows_of())
            rows = connection.execution_options(yield_per=ROWS).execute(statement)
            yield from (dict(row) for row in rows.mappings())

    def _compare_keys(self) -> None:
        """Find one row by its own key: where that fails, no row could be read.

        Raises:
            SourceUnavailable: the columns of the key are of a type without exact spelling.
        """
        names = self._columns.key
        for _ in range(LOOKS):
            with self._database.reading() as connection:
                self._like = self._any_key(connection)  # the table may be another one by now
            if self._like is None or self._is_found(dict(zip(names, self._like, strict=True))):
                return
        raise SourceUnavailable(
            f"{self._place}: rows are not found by `key` ({', '.join(names)}), because its type "
            "has no exact spelling: name a `query` that casts it to text"
        )

    def _is_found(self, key: Mapping[str, object]) -> bool:
        """Whether the row with this key is found by its path, as far as it has one."""
        exact = self._is_sqlite or self._is_postgres
        if not exact and any(isinstance(value, _INEXACT) for value in key.values()):
            return False
        try:
            path = path_of(key, self._columns.key)
            return any(True for _ in self._rows([path], self._named(self._columns.key)))
        except DocumentRefused:
            return True  # a listing tells
        except NoSuchValue:
            return False

    def _any_key(self, connection: "Connection") -> Sequence[Any] | None:
        from sqlalchemy import select

        keys = self._named(self._columns.key)
        return connection.execute(select(*keys).select_from(self._rows_of()).limit(1)).first()

    def _not_compared(self, error: NoSuchValue) -> str:
        said = str(error).removeprefix(f"{self._place}: ")
        return f"the database does not compare the key: {said}"

    def _look(self, paths: Sequence[str], found: Looked) -> None:
        """Ask for the versions of these rows; a path that the database does not compare says
        nothing about the others, and an error never means that there is no such row."""
        try:
            for path, row in self._rows(paths, self._listing_columns()):
                found.present[path] = version_of(row, self._columns, path)
        except NoSuchValue as error:
            if len(paths) == 1:
                found.problems[paths[0]] = self._not_compared(error)
                return
            middle = len(paths) // 2
            self._look(paths[:middle], found)
            self._look(paths[middle:], found)

    def _rows(
        self, paths: Collection[str], columns: Sequence["ColumnElement[Any]"]
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The rows with these paths, those that are there. Raises NoSuchValue."""
        with self._database.reading() as connection:
            yield from self._asked(connection, paths, columns)

    def _asked(
        self,
        connection: "Connection",
        paths: Collection[str],
        columns: Sequence["ColumnElement[Any]"],
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        from sqlalchemy import and_, or_, select
        from sqlalchemy.sql.expression import bindparam
        from sqlalchemy.types import NullType

        if self._like is None:
            self._like = self._any_key(connection)
        if self._like is None:
            return
        keys = self._named(self._columns.key)
        asked = [value for path in paths for value in self._values(path, self._like)]
        if not asked:
            return
        is_one = or_(
            *(
                and_(
                    *(
                        key == bindparam(None, value, type_=NullType(), unique=True)
                        for key, value in zip(keys, values, strict=True)
                    )
                )
                for values in asked
            )
        )
        wanted = set(paths)
        statement = select(*columns).select_from(self._rows_of()).where(is_one)
        for row in connection.execute(statement).mappings():
            path = path_of(dict(row), self._columns.key)
            if path in wanted:
                yield path, dict(row)

    def _values(self, path: str, like: Sequence[Any]) -> Iterator[list[object]]:
        """The key of a path, with values of the types of another row's key."""
        texts = texts_of(path, len(self._columns.key))
        if texts is None or _NO_KEY.search("".join(texts)):
            return
        values = list[object]()
        for text, other in zip(texts, like, strict=True):
            value = _parsed(text, type(other), _IN_SQLITE if self._is_sqlite else _INTEGERS)
            if value is None and not self._is_sqlite:
                return  # no value of the column's type
            # Postgres reads a text as a value of its column, which may have fewer digits
            as_text = self._is_postgres and isinstance(value, float)
            values.append(text if value is None or as_text or text_of(value) != text else value)
        yield values
        if self._is_sqlite and values != list(texts):
            yield list(texts)  # a column of SQLite may hold values of several types

    def _named(self, names: Iterable[str]) -> "list[ColumnElement[Any]]":
        from sqlalchemy import column

        return [column(name) for name in dict.fromkeys(names)]

    def _listing_columns(self) -> list["ColumnElement[Any]"]:

        named = self._columns
        if named.watermark is not None:
            return self._named((*named.key, named.watermark))
        plain = self._named((*named.key, *named.told))
        return [*plain, self._size().label(SIZE), self._digest().label(DIGEST)]

    def _reading_columns(self) -> list["ColumnElement[Any]"]:
        from sqlalchemy import case, column

        named, size = self._columns, self._size()
        only = [name for name in named.body if name not in (*named.key, *named.told)]
        plain = self._named(name for name in named.all if name not in only)
        bodies: list[ColumnElement[Any]] = [
            case((size <= self.max_bytes, column(name))).label(name) for name in only
        ]
        found: list[ColumnElement[Any]] = [*plain, *bodies, size.label(SIZE)]
        return found if named.watermark is not None else [*found, self._digest().label(DIGEST)]

    def _size(self) -> "ColumnElement[Any]":
        from sqlalchemy import Integer, Text, cast, func

        columns = self._named(self._columns.body)
        if self._is_sqlite:
            return func.instep_size(*columns, type_=Integer())
        total: Any = 0
        for one in columns:
            length = cast(one, Text) if self._is_postgres else one
            total = func.coalesce(func.octet_length(length), 0, type_=Integer()) + total
        return total  # type: ignore[no-any-return]

    def _digest(self) -> "ColumnElement[Any]":
        from sqlalchemy import Text, cast, func

        columns = self._named(self._columns.body)
        if self._is_sqlite:
            return func.instep_digest(*columns)
        if self._is_postgres:
            digests: list[Any] = [
                func.encode(func.sha256(func.convert_to(cast(one, Text), "UTF8")), "hex")
                for one in columns
            ]
        else:
            digests = [func.sha2(one, 256) for one in columns]
        return func.concat_ws(",", *(func.coalesce(one, "-") for one in digests))


def _parsed(text: str, kind: type, integers: range) -> object:
    """The value of a column's type; None: there is none."""
    try:
        value = _PARSERS.get(kind, str)(text)
    except (ValueError, ArithmeticError):
        return None
    return None if isinstance(value, int) and value not in integers else value


def open_table(settings: SqlSettings) -> SqlSource:
    """Raises ConfigurationError: SQLAlchemy or the driver is not installed."""
    password = settings.password.get_secret_value() if settings.password else None
    database = Database(settings.url.get_secret_value(), password, settings.place)
    return SqlSource(database, settings)
