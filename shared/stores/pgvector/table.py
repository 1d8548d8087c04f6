"""The table of an index: opened, created, compared with its declaration, and given its index.

Whoever makes the table holds an advisory lock, so two processes that start at once make one. Its
comment names the making (`incarnation`), and goes with the table; that of the column of words notes
the version of words that every row has, that of the column of terms that every row has them.
"""

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, LiteralString

import structlog

from shared.domain.errors import ConfigurationError, StoreMismatch
from shared.domain.filters.terms import COLUMN
from shared.domain.text import words

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.sql import Composed

log = structlog.get_logger(__name__)

OLDEST_SERVER: Final = 140_000
OLDEST_EXTENSION: Final = (0, 8)
"""The first with `hnsw.iterative_scan`."""
MOST_OF_HNSW: Final = 2_000
MOST_OF_HALF: Final = 4_000
MOST_DIMENSIONS: Final = 16_000
PLAIN_UP_TO: Final = 1_500
"""Dimensions up to which a vector stays in its row, whose page has 8 KB: reading it from beside
the row costs an exact search most of its time."""
MOST_NAME: Final = 40
"""Characters of the name of a table: those of its indexes are longer, and Postgres cuts at 63."""
INDEX_FROM_ROWS: Final = 10_000
SOON_ROWS: Final = 100_000
IDLE_S: Final = 5.0
LOCK: Final = 7_361_902_114
"""The advisory lock of making tables; the next number is that of making indexes."""
COMMENT: Final = "instep "
NO_EXTENSION: Final = (
    "the database has no extension vector, and the user of store.pgvector.url may not create it; "
    "have an administrator of the database run: CREATE EXTENSION vector"
)
NO_SCHEMA: Final = (
    "the user of store.pgvector.url may not make tables in its schema; have the owner run: "
    "GRANT CREATE ON SCHEMA public TO user"
)
NOT_INSTALLED: Final = (
    "the Postgres server has no pgvector: install it there, as postgresql-16-pgvector of Debian or "
    "the image pgvector/pgvector:pg16, and start again"
)


@dataclass(frozen=True, slots=True)
class TablePlace:
    """A table by its name, for vectors of so many dimensions."""

    name: str
    dimensions: int

    @property
    def half(self) -> bool:
        """The vector index holds 16 bits a number, and finds candidates only."""
        return MOST_OF_HNSW < self.dimensions <= MOST_OF_HALF

    @property
    def exact(self) -> bool:
        """pgvector has no index for so many dimensions: every search reads every vector."""
        return self.dimensions > MOST_OF_HALF

    def sql(self, statement: LiteralString) -> "Composed":
        """The statement with {table}, {index} and {n} as this table needs them."""
        from psycopg.sql import SQL, Identifier, Literal

        half = SQL("::halfvec({})").format(Literal(self.dimensions)) if self.half else SQL("")
        return SQL(statement).format(
            table=Identifier(self.name),
            index=Identifier(f"{self.name}_vector"),
            by_document=Identifier(f"{self.name}_doc_key"),
            by_source=Identifier(f"{self.name}_source"),
            by_path=Identifier(f"{self.name}_path"),
            by_word=Identifier(f"{self.name}_words"),
            by_term=Identifier(f"{self.name}_{COLUMN}"),
            without_terms=Identifier(f"{self.name}_{COLUMN}_null"),
            terms=Identifier(COLUMN),
            n=Literal(self.dimensions),
            half=half,
            operators=SQL("halfvec_cosine_ops" if self.half else "vector_cosine_ops"),
            storage=SQL("PLAIN" if self.dimensions <= PLAIN_UP_TO else "EXTERNAL"),
        )


MAKE: Final = """
CREATE TABLE {table} (
    id text COLLATE "C" PRIMARY KEY,
    doc_key text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    path text COLLATE "C" NOT NULL,
    born bigint NOT NULL,
    chunk_key text COLLATE "C" NOT NULL,
    title text NOT NULL,
    heading text[] NOT NULL,
    text text NOT NULL,
    metadata text NOT NULL,
    words tsvector NOT NULL,
    words_seal bigint NOT NULL,
    length integer NOT NULL,
    vector vector({n}) NOT NULL,
    seal bigint NOT NULL,
    marks real[] NOT NULL
) WITH (toast_tuple_target = 8160);
ALTER TABLE {table} ALTER COLUMN vector SET STORAGE {storage},
    ALTER COLUMN words SET STORAGE MAIN;
CREATE INDEX {by_document} ON {table} (doc_key);
CREATE INDEX {by_source} ON {table} (source);
CREATE INDEX {by_path} ON {table} (path);
CREATE INDEX {by_word} ON {table} USING gin (words) WITH (gin_pending_list_limit = 1024);
"""
ADD_TERMS: Final = """
ALTER TABLE {table} ADD COLUMN {terms} text[] COLLATE "C";
CREATE INDEX {by_term} ON {table} USING gin ({terms}) WITH (gin_pending_list_limit = 1024);
CREATE INDEX {without_terms} ON {table} (id) WHERE {terms} IS NULL;
"""
"""Null in rows of a version before, which the second index finds."""
MAKE_INDEX: Final = """
CREATE INDEX CONCURRENTLY {index} ON {table} USING hnsw ((vector{half}) {operators})
"""
COLUMNS: Final = """
SELECT attname, format_type(atttypid, atttypmod) AS kind FROM pg_attribute
WHERE attrelid = to_regclass(%(name)s) AND attnum > 0 AND NOT attisdropped
"""
NOTE: Final = """
SELECT col_description(attrelid, attnum) FROM pg_attribute
WHERE attrelid = to_regclass(%(name)s) AND attname = %(column)s
"""
TERMS_WRITTEN: Final = "every row has its terms"
WORDS_VERSION: Final = "words of version "
INCARNATION: Final = "SELECT obj_description(to_regclass(%(name)s), 'pg_class') AS comment"
WANTED: Final = {
    "id": "text",
    "doc_key": "text",
    "source": "text",
    "path": "text",
    "born": "bigint",
    "chunk_key": "text",
    "title": "text",
    "heading": "text[]",
    "text": "text",
    "metadata": "text",
    "words": "tsvector",
    "words_seal": "bigint",
    "length": "integer",
    "seal": "bigint",
    "marks": "real[]",
    COLUMN: "text[]",
}


@dataclass(frozen=True, slots=True)
class PgTable:
    """created: it was not there. incarnation: another one each time that it is made."""

    created: bool
    incarnation: str


async def open_table(connection: "AsyncConnection[Any]", place: TablePlace) -> PgTable:
    """Create the table, or compare it with its declaration.

    Raises:
        StoreMismatch: it was made otherwise, or changed by hand.
        ConfigurationError: the server or its extension is missing, too old, or denies a right.
        psycopg.Error: all else.
    """
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%(lock)s)", {"lock": LOCK})
        await _check_server(connection)
        columns = await _columns(connection, place)
        if not columns:
            await _make(connection, place)
        elif found := differences({COLUMN: WANTED[COLUMN]} | columns, place.dimensions):
            raise StoreMismatch(
                f"the table {place.name} is not as instep makes it ({'; '.join(found)}): drop it, "
                "and instep makes it anew and fills it from its ledger and its cache; or set "
                "another store.pgvector.prefix, which fills another and keeps this one"
            )
        elif COLUMN not in columns:
            await connection.execute(place.sql(ADD_TERMS))
        return PgTable(not columns, await incarnation(connection, place) or "")


def differences(columns: dict[str, str], dimensions: int) -> list[str]:
    """How the columns (name to type) differ from the declared ones. Pure."""
    wanted = WANTED | {"vector": f"vector({dimensions})"}
    missing = [f"{name} is missing" for name in wanted if name not in columns]
    return missing + [
        f"{name} is {columns[name]} and not {kind}"
        for name, kind in wanted.items()
        if columns.get(name, kind).rpartition(".")[2] != kind
    ]


async def _check_server(connection: "AsyncConnection[Any]") -> None:
    """Check server and extension; create the extension where it is missing and this user may.

    Raises as `open_table`.
    """
    import psycopg

    _check_database(connection)
    found = await _extension(connection)
    if found is None:
        try:
            await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except psycopg.errors.InsufficientPrivilege:
            raise ConfigurationError(NO_EXTENSION) from None
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile):
            raise ConfigurationError(NOT_INSTALLED) from None
        found = await _extension(connection) or ""
    _check_version(found)


def _check_database(connection: "AsyncConnection[Any]") -> None:
    if connection.info.server_version < OLDEST_SERVER:
        raise ConfigurationError("the Postgres server is too old: instep needs 14 or newer")
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise ConfigurationError(f"the database has the encoding {encoding}: make one with UTF8")


def _check_version(found: str) -> None:
    if version_of(found) < OLDEST_EXTENSION:
        raise ConfigurationError(
            f"the extension vector has the version {found}, and instep needs 0.8 or newer: "
            "install that on the server, then run ALTER EXTENSION vector UPDATE"
        )


def version_of(text: str) -> tuple[int, ...]:
    """The numbers of a version; none for what is none. Pure."""
    return tuple(int(part) for part in text.split(".") if part.isdecimal())


async def describe(connection: "AsyncConnection[Any]") -> str:
    """The versions of server and extension; nothing is changed. Raises as `open_table`."""
    _check_database(connection)
    version = await _extension(connection)
    if version is None:
        versions = "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'"
        available = await _value(connection, versions)
        if available is None:
            raise ConfigurationError(NOT_INSTALLED)
        able = await _value(
            connection, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
        )
        if not able:
            raise ConfigurationError(NO_EXTENSION)
        version = str(available)
    _check_version(version)
    if not await _value(connection, "SELECT has_schema_privilege(current_schema(), 'CREATE')"):
        raise ConfigurationError(NO_SCHEMA)
    server = connection.info.parameter_status("server_version") or ""
    return f"Postgres {server.split()[0]}, pgvector {version}"


async def incarnation(connection: "AsyncConnection[Any]", place: TablePlace) -> str | None:
    """That of the table; None: there is none."""
    found = await connection.execute(INCARNATION, {"name": _quoted(place.name)})
    row = await found.fetchone()
    return row[0] if row else None


def index_due(rows: int, idle_s: float) -> bool:
    """Whether to make the vector index, as soon as a load is over: filling it row by row takes
    several times as long. Pure.

    Args:
        rows: of the table, as far as they were counted.
        idle_s: since the last row of this process.
    """
    return rows >= SOON_ROWS or (rows >= INDEX_FROM_ROWS and idle_s >= IDLE_S)


async def make_index(connection: "AsyncConnection[Any]", place: TablePlace) -> None:
    """Make the vector index; writers go on meanwhile. One process at a time; others do nothing.

    An index that an earlier try left unfinished is dropped first.
    """
    locked = await _value(connection, "SELECT pg_try_advisory_lock(%(lock)s)", lock=LOCK + 1)
    if not locked:
        return
    try:
        if not await has_index(connection, place):
            await connection.execute(place.sql("DROP INDEX IF EXISTS {index}"))
            log.info("vector_index_begun", table=place.name)
            await connection.execute(place.sql(MAKE_INDEX))
            await connection.execute(place.sql("ANALYZE {table}"))
            log.info("vector_index_made", table=place.name)
    finally:
        await connection.execute("SELECT pg_advisory_unlock(%(lock)s)", {"lock": LOCK + 1})


async def clean_words(connection: "AsyncConnection[Any]", place: TablePlace) -> None:
    """Sort new words and terms into their indexes; until then a search reads them one by one."""
    statement = "SELECT gin_clean_pending_list(to_regclass(%(name)s))"
    for column in ("words", COLUMN):
        await connection.execute(statement, {"name": _quoted(f"{place.name}_{column}")})


async def has_index(connection: "AsyncConnection[Any]", place: TablePlace) -> bool:
    """Whether the vector index is there and finished."""
    return bool(
        await _value(
            connection,
            "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%(name)s)",
            name=_quoted(f"{place.name}_vector"),
        )
    )


async def words_version(connection: "AsyncConnection[Any]", place: TablePlace) -> int | None:
    """The version of words that every row is noted to have; None: it is not noted."""
    note = await _value(connection, NOTE, name=_quoted(place.name), column="words") or ""
    digits = note.removeprefix(WORDS_VERSION)
    return int(digits) if digits.isdecimal() and note.startswith(WORDS_VERSION) else None


async def note_words(connection: "AsyncConnection[Any]", place: TablePlace) -> None:
    """Note that every row has the words of this version."""
    from psycopg.sql import SQL, Literal

    note = Literal(f"{WORDS_VERSION}{words.VERSION}")
    statement = SQL("COMMENT ON COLUMN {}.words IS {}").format(place.sql("{table}"), note)
    await connection.execute(statement)


async def has_terms(connection: "AsyncConnection[Any]", place: TablePlace) -> bool:
    """Whether every row is noted to have its terms for filters."""
    note = await _value(connection, NOTE, name=_quoted(place.name), column=COLUMN)
    return bool(note == TERMS_WRITTEN)


async def lacks_terms(connection: "AsyncConnection[Any]", place: TablePlace) -> bool:
    """Whether a row has none, as those that a version before writes beside this one."""
    statement = "SELECT EXISTS (SELECT FROM {table} WHERE {terms} IS NULL)"
    return bool(await _value(connection, place.sql(statement)))


async def note_terms(
    connection: "AsyncConnection[Any]", place: TablePlace, *, written: bool = True
) -> None:
    """Note that every row has its terms for filters, or withdraw that note."""
    from psycopg.sql import SQL, Literal

    statement = SQL("COMMENT ON COLUMN {} IS {}").format(
        place.sql("{table}.{terms}"), Literal(TERMS_WRITTEN if written else None)
    )
    await connection.execute(statement)


async def rows_up_to(
    connection: "AsyncConnection[Any]", place: TablePlace, most: int | None
) -> int:
    """The number of rows, at most `most`; None: of all."""
    counted = "SELECT count(*) FROM (SELECT FROM {table} LIMIT %(most)s) AS counted"
    return int(await _value(connection, place.sql(counted), most=most))


async def _make(connection: "AsyncConnection[Any]", place: TablePlace) -> None:
    from psycopg.sql import SQL, Literal

    await connection.execute(place.sql(MAKE))
    await connection.execute(place.sql(ADD_TERMS))
    comment = Literal(f"{COMMENT}{secrets.token_hex(16)}")
    await connection.execute(SQL("COMMENT ON TABLE {} IS {}").format(place.sql("{table}"), comment))
    await note_words(connection, place)
    await note_terms(connection, place)


async def _columns(connection: "AsyncConnection[Any]", place: TablePlace) -> dict[str, str]:
    found = await connection.execute(COLUMNS, {"name": _quoted(place.name)})
    return {name: kind for name, kind in await found.fetchall()}


async def _extension(connection: "AsyncConnection[Any]") -> str | None:
    version: str | None = await _value(
        connection, "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
    )
    return version


async def _value(connection: "AsyncConnection[Any]", statement: Any, **values: Any) -> Any:
    row = await (await connection.execute(statement, values)).fetchone()
    return row[0] if row else None


def _quoted(name: str) -> str:
    """An identifier as `to_regclass` reads it."""
    return '"' + name.replace('"', '""') + '"'
