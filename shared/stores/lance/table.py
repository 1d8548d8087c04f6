"""A LanceDB table: opened, created, checked, put aside when it cannot be used, and maintained.

Another program may delete its folder, and another process may make it anew, while this one has it
open. A file in the folder, which goes with it, says which making it is. A table that is broken, or
that another version of instep made, is put aside.

Every commit adds a fragment, and every fragment adds about 0.1 ms to a read and to each vector of
a batch; a compaction writes all small fragments anew (0.2 s for 50 of them at 50,000 rows).
"""

import asyncio
import contextlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import structlog

from shared.domain.errors import StoreMismatch, StoreUnavailable
from shared.domain.filters.terms import COLUMN as TERMS
from shared.domain.filters.terms import NAMED as TERMS_OF_ANY_VERSION
from shared.stores.lance import limits as lance_limits
from shared.stores.lance import rows as lance_rows
from shared.stores.lance import words as lance_words
from shared.stores.lance.limits import translated

if TYPE_CHECKING:
    from lancedb import AsyncConnection
    from lancedb.table import AsyncTable


MANY_COMMITS: Final = 50
SOME_COMMITS: Final = 4
IDLE_S: Final = 1.0
OFTEN_S: Final = 60.0
SELDOM_S: Final = 600.0
SHARE: Final = 50
"""One part in so many of the time may go into compactions after lone edits."""
GROWTH: Final = 4
INDEX_PREFIX: Final = "vector_at_"
KEYS: Final = ("id", "doc_key")
"""Columns by whose values rows are read and deleted: without an index, each call reads all rows."""


@dataclass(frozen=True, slots=True)
class Wear:
    """The wear of the table since its last compaction."""

    commits: int
    idle_s: float
    """Seconds since the last commit."""
    since_s: float
    """Seconds since the last compaction, or since opening."""
    took_s: float = 0.0
    """Seconds that the last compaction took."""


def compaction_due(wear: Wear) -> bool:
    """Often under load, soon when there is time, and at last for the bytes of deleted rows.

    Rows that came or went since the last one are scored by statistics of their own, so one edit
    is enough where a compaction costs little: a small index gives the scores of a first build.
    """
    if wear.commits >= MANY_COMMITS:
        return True
    if wear.commits >= SOME_COMMITS:
        return wear.idle_s >= IDLE_S or wear.since_s >= OFTEN_S
    soon = wear.idle_s >= IDLE_S and wear.since_s >= SHARE * wear.took_s
    return wear.commits > 0 and (soon or wear.since_s >= SELDOM_S)


def index_name(rows: int) -> str:
    """The name remembers how many rows the partitions of the index were made for."""
    return f"{INDEX_PREFIX}{rows}"


def rows_at_build(name: str) -> int:
    """How many rows an index was made for; 0 for an index with a foreign name."""
    digits = name.removeprefix(INDEX_PREFIX)
    return int(digits) if digits.isdecimal() and name.startswith(INDEX_PREFIX) else 0


def index_due(rows: int, built_for: int | None, threshold: int) -> bool:
    """Whether to make the vector index (`built_for` None: there is none) or to make it anew."""
    if built_for is None:
        return rows > threshold
    return rows >= GROWTH * max(1, built_for)


def passing(error: str) -> bool:
    """Whether a failure to read lies in the machine, not in the files: try again, move nothing."""
    signs = ("permission", "too many open files", "no space", "os error", "interrupted", "timeout")
    return any(sign in error.lower() for sign in signs)


log = structlog.get_logger(__name__)

ASIDE: Final = "broken"
OURS: Final = frozenset({"id", "doc_key", "born", "the key of id"})
"""These mark a table of instep's, whichever version made it."""


@dataclass(frozen=True, slots=True)
class OpenTable:
    """A table that can be read and written.

    created: it was not there. rebuilt: it was there, and could not be read or was made by another
    version.
    """

    table: "AsyncTable"
    created: bool
    rebuilt: bool


async def connect(folder: Path) -> "AsyncConnection":
    """A connection with caches of its own, which every reader sees the newest version through."""
    import lancedb

    return await lancedb.connect_async(
        folder, read_consistency_interval=timedelta(0), session=lance_limits.session()
    )


async def open_table(
    connection: "AsyncConnection", folder: Path, name: str, dimensions: int
) -> OpenTable:
    """Open or create the table.

    Raises:
        StoreMismatch: instep did not make it, or for another number of dimensions.
        RuntimeError, OSError, ValueError: the machine's trouble, not the table's.
    """
    found = await _readable(connection, folder, name, dimensions)
    rows = found if isinstance(found, int) else None
    usable = None if isinstance(found, int) else found
    aside = None if usable else _put_aside(folder, name)
    if aside and rows is not None:
        log.warning("index_written_again", reason=_told(rows, aside))
    table = usable or await connection.create_table(name, schema=lance_rows.schema(dimensions))
    await lance_words.ensure_index(table)
    return OpenTable(table, created=not (usable or aside), rebuilt=aside is not None)


def _told(rows: int, aside: Path) -> str:
    return (
        f"another version of instep made the index: its {rows:,} rows are written again with "
        "vectors from the cache, and only a text that the cache no longer holds is embedded anew; "
        f"the old table stays as {aside} until you delete it"
    )


async def _readable(
    connection: "AsyncConnection", folder: Path, name: str, dimensions: int
) -> "AsyncTable | int | None":
    """The table, or None when it is absent or its files are damaged.

    Of a table that another version made, the number of its rows.

    Reading every id touches every data file, and a search the files of its index: torn files,
    which a power loss leaves, show here and not in the middle of the work.
    """
    if not _holds_files(folder, name):
        return None
    try:
        table = await connection.open_table(name)
        schema = await table.schema()
        if not schema.names:  # so reads a manifest of zeros
            return None
        if not _is_current(place(folder, name), schema, lance_rows.schema(dimensions)):
            return await table.count_rows()
        await table.query().select(["id"]).to_arrow()
        await _search_once(table, dimensions)
        await _have_terms(table)
    except (RuntimeError, OSError, ValueError) as error:
        if passing(str(error)):
            raise
        return None
    return table


async def _have_terms(table: "AsyncTable") -> None:
    """Give a table of a version before its column of terms, which is null in every row."""
    try:
        if TERMS not in (await table.schema()).names:
            await table.add_columns(lance_rows.terms_field())
    except (RuntimeError, OSError, ValueError):
        if TERMS not in (await table.schema()).names:  # no other process was faster
            raise


async def _search_once(table: "AsyncTable", dimensions: int) -> None:
    indexed = [index.columns for index in await table.list_indices()]
    if ["words"] in indexed:
        text = table.query().nearest_to_text("a readable index", columns="words")
        await text.limit(1).select(["id", "_score"]).to_arrow()
    if ["vector"] in indexed:
        near = table.query().nearest_to(np.ones(dimensions, np.float32)).distance_type("cosine")
        await near.limit(1).select(["id", "_distance"]).to_arrow()
    for column in KEYS:
        if [column] in indexed:
            await table.query().where(f"{column} = ''").select(["id"]).to_arrow()


def place(folder: Path, name: str) -> Path:
    """The folder of a table."""
    return folder / f"{name}.lance"


def _holds_files(folder: Path, name: str) -> bool:
    return any(path.is_file() for path in place(folder, name).rglob("*"))


def _put_aside(folder: Path, name: str) -> Path | None:
    """Rename the rest of the table; its new place, or None when there is none."""
    if not _holds_files(folder, name):
        return None
    taken = (folder / f"{name}.{ASIDE}-{n}" for n in range(1, 1_000_000))
    aside = next(path for path in taken if not path.exists())
    return place(folder, name).rename(aside)


def _is_current(table: Path, found: Any, wanted: Any) -> bool:
    """Whether a table has the columns that it should have; if not, another version made it.

    Raises:
        StoreMismatch: instep did not make it, or for another number of dimensions.
    """
    have = {field.name: (field.type, field.nullable) for field in found}
    want = {field.name: (field.type, field.nullable) for field in wanted}
    differ = {key for key in have.keys() | want.keys() if have.get(key) != want.get(key)}
    differ -= {key for key in differ if key.startswith(TERMS_OF_ANY_VERSION) and key != TERMS}
    if TERMS not in have:
        differ.discard(TERMS)
    if "id" in have and not found.field("id").metadata:
        differ.add("the key of id")
    foreign = differ & OURS
    if "vector" in have and _length(have["vector"][0]) not in (None, _length(want["vector"][0])):
        foreign.add("vector")
    if foreign:
        raise StoreMismatch(
            f"the table {table} was made otherwise ({', '.join(sorted(foreign))}): move {table} "
            "away, and instep makes it anew and fills it from its ledger and its cache"
        )
    return not differ


def _length(kind: Any) -> int | None:
    """How long each list of a column is; None where that is not fixed."""
    return getattr(kind, "list_size", None)


MARK: Final = "_made"

Sight = tuple[int, int, int]
"""Device, number and time of the mark: enough to see that it is another, and cheap."""


class LanceTable:
    """One table in a folder; made by `open`, which raises as `lance_open.open_table` does.

    Attributes:
        created, rebuilt: how it was found when this process opened it, see `Opened`.
    """

    def __init__(self, folder: Path, name: str, dimensions: int) -> None:
        self.name = name
        self._folder, self._dimensions = folder, dimensions
        self._opening = asyncio.Lock()
        self._sight: Sight | None = None
        self._worded: Sight | None = None
        self._termed: Sight | None = None
        self._connection: AsyncConnection
        self._opened: OpenTable
        self.created = self.rebuilt = False

    @classmethod
    async def open(cls, folder: Path, name: str, dimensions: int) -> "LanceTable":
        made = cls(folder, name, dimensions)
        await made._make()
        made.created, made.rebuilt = made._opened.created, made._opened.rebuilt
        return made

    async def now(self) -> "AsyncTable":
        """The table. Raises StoreUnavailable when it was deleted, until `incarnation` is asked."""
        return (await self._seen()).table

    async def connection(self) -> "AsyncConnection":
        """The connection that it is read through. Raises as `now`."""
        await self._seen()
        return self._connection

    async def is_worded(self) -> bool:
        """Whether every row has the words of this version; once it is so, it stays so."""
        table, sight = await self.now(), self._sight
        if self._worded != sight and await lance_words.is_worded(table):
            self._worded = sight
        return self._worded == sight

    async def is_termed(self) -> bool:
        """Whether every row has its terms for filters; once it is so, it stays so."""
        table, sight = await self.now(), self._sight
        if self._termed != sight and not await table.count_rows(f"{TERMS} IS NULL"):
            self._termed = sight
        return self._termed == sight

    async def is_asked_by_words(self) -> bool:
        """Whether its index holds words of any version; until then it cuts a question itself."""
        return await self.is_worded() or await lance_words.is_asked_by_words(await self.now())

    def is_as_opened(self) -> bool:
        """Whether it was neither deleted nor made anew since this process opened it."""
        return self._sight is not None and self._mark_seen() == self._sight

    async def incarnation(self) -> str | None:
        """Which making this is; None: it was deleted, or made anew, or cannot be read."""
        if not self.is_as_opened() or not await self._holds():
            return None
        return await asyncio.to_thread(self._read_mark)

    async def make_anew(self) -> str:
        """Make it anew unless another process has; returns which making it is now.

        No write of this process may be under way: it would commit the rows of the old table.
        """
        async with self._opening:
            found = await self.incarnation()
            if found is None:
                await self._make()
                found = await asyncio.to_thread(self._read_mark)
            return found

    async def _holds(self) -> bool:
        """Whether its newest version can be read: a folder may be deleted in part."""
        try:
            await self._opened.table.query().select(["id"]).limit(1).to_arrow()
        except (RuntimeError, OSError, ValueError) as error:
            if passing(str(error)):
                raise
            return False
        return True

    async def renew(self) -> None:
        """Open it anew, with empty caches; readers go on with what they have."""
        async with self._opening:
            self._connection = await connect(self._folder)
            table = await self._connection.open_table(self.name)
            self._opened = OpenTable(table, created=False, rebuilt=False)

    def close(self) -> None:
        self._opened.table.close()  # type: ignore[no-untyped-call]  # lancedb leaves it untyped
        self._connection.close()  # type: ignore[no-untyped-call]  # the same

    @property
    def _mark(self) -> Path:
        return place(self._folder, self.name) / MARK

    async def _seen(self) -> OpenTable:
        if self._mark_seen() is None:
            raise StoreUnavailable("the index was deleted; it is made anew within seconds")
        if not self.is_as_opened():
            with translated():
                await self._reopen()
        return self._opened

    def _mark_seen(self) -> Sight | None:
        try:
            found = self._mark.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns

    async def _reopen(self) -> None:
        """Open another process's new table; one that cannot be opened stays as it is."""
        async with self._opening:
            if self.is_as_opened():
                return
            sight = self._mark_seen()  # first: it may be made anew once more meanwhile
            connection = await connect(self._folder)
            table = await connection.open_table(self.name)
            self._connection, self._sight = connection, sight
            self._opened = OpenTable(table, created=False, rebuilt=False)

    async def _make(self) -> None:
        """Open or create the table, put one aside that cannot be read, and mark a new one."""
        await asyncio.to_thread(self._folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        self._sight = None
        self._connection = await connect(self._folder)
        self._opened = await open_table(self._connection, self._folder, self.name, self._dimensions)
        await asyncio.to_thread(self._put_mark)
        self._sight = self._mark_seen()

    def _read_mark(self) -> str:
        """The number of its file tells a copy that was put in its place. Raises OSError."""
        return f"{self._mark.read_text(errors='replace')}-{self._mark.stat().st_ino}"

    def _put_mark(self) -> None:
        """Mark it unless it is marked; of two that do it at once the later counts.

        Its folder is made private, for version 0.1.0 left that to the umask.

        Raises OSError.
        """
        with contextlib.suppress(PermissionError):  # another user's
            place(self._folder, self.name).chmod(0o700)
        if self._mark.exists():
            return
        fresh = self._mark.with_name(f"{MARK}.{secrets.token_hex(8)}")
        fresh.write_text(secrets.token_hex(16))
        fresh.rename(self._mark)
