"""Opening a LanceDB table: create it, refuse a foreign one, put aside what cannot be used.

That is one that is broken, or that another version of instep made.
"""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import structlog

from shared.domain.errors import StoreMismatch
from shared.stores.lance import limits as lance_limits
from shared.stores.lance import rows as lance_rows
from shared.stores.lance import upkeep as lance_upkeep

if TYPE_CHECKING:
    from lancedb import AsyncConnection
    from lancedb.table import AsyncTable

log = structlog.get_logger(__name__)

ASIDE: Final = "broken"
OURS: Final = frozenset({"id", "doc_key", "born", "the key of id"})
"""By these a table is known as one of instep's, whichever version made it."""


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
    if not any(index.columns == ["words"] for index in await table.list_indices()):
        await table.create_index("words", config=_text_index())
    return OpenTable(table, created=not (usable or aside), rebuilt=aside is not None)


def _told(rows: int, aside: Path) -> str:
    return (
        f"another version of instep made the index: its {rows:,} rows are written again with "
        "vectors from the cache, and only a text that the cache no longer holds is embedded anew; "
        f"the old table stays as {aside} until you delete it"
    )


def _text_index() -> Any:
    """Keywords without positions: phrases are not offered, and the index is smaller."""
    from lancedb.index import FTS

    return FTS(
        with_position=False,
        stem=True,
        remove_stop_words=True,
        ascii_folding=True,
        language="English",
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
    except (RuntimeError, OSError, ValueError) as error:
        if lance_upkeep.passing(str(error)):
            raise
        return None
    return table


async def _search_once(table: "AsyncTable", dimensions: int) -> None:
    indexed = [index.columns for index in await table.list_indices()]
    if ["words"] in indexed:
        text = table.query().nearest_to_text("a readable index", columns="words")
        await text.limit(1).select(["id", "_score"]).to_arrow()
    if ["vector"] in indexed:
        near = table.query().nearest_to(np.ones(dimensions, np.float32)).distance_type("cosine")
        await near.limit(1).select(["id", "_distance"]).to_arrow()


def place(folder: Path, name: str) -> Path:
    """The folder of a table."""
    return folder / f"{name}.lance"


def _holds_files(folder: Path, name: str) -> bool:
    return any(path.is_file() for path in place(folder, name).rglob("*"))


def _put_aside(folder: Path, name: str) -> Path | None:
    """Rename what is left of the table; its new place, or None when there is nothing."""
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
