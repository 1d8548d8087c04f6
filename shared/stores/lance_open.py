"""Opening a LanceDB table: create it, refuse another one's, put a broken or an older one aside."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from shared.errors import StoreMismatch
from shared.stores import lance_limits, lance_rows, lance_upkeep

if TYPE_CHECKING:
    from lancedb import AsyncConnection
    from lancedb.table import AsyncTable

ASIDE: Final = "broken"


@dataclass(frozen=True, slots=True)
class Opened:
    """A table that can be read and written.

    created: it was not there. rebuilt: it was there, and could not be read or had no seals.
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
) -> Opened:
    """Open or create the table.

    Raises:
        StoreMismatch: it holds other columns or another number of dimensions.
        RuntimeError, OSError, ValueError: the machine's trouble, not the table's.
    """
    found = await _readable(connection, folder, name, dimensions)
    rebuilt = found is None and _put_aside(folder, name)
    table = found or await connection.create_table(name, schema=lance_rows.schema(dimensions))
    if not any(index.columns == ["words"] for index in await table.list_indices()):
        await table.create_index("words", config=_text_index())
    return Opened(table, created=found is None and not rebuilt, rebuilt=rebuilt)


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
) -> "AsyncTable | None":
    """The table, or None when it is absent, its files are damaged, or its rows have no seals.

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
        if _check(name, schema, lance_rows.schema(dimensions)) == "unsealed":
            return None
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


def _put_aside(folder: Path, name: str) -> bool:
    """Rename what is left of the table; False when there is nothing."""
    if not _holds_files(folder, name):
        return False
    taken = (folder / f"{name}.{ASIDE}-{n}" for n in range(1, 1_000_000))
    place(folder, name).rename(next(path for path in taken if not path.exists()))
    return True


def _check(name: str, found: Any, wanted: Any) -> Literal["as wanted", "unsealed"]:
    """Compare the columns of a table with those it should have.

    An earlier version wrote rows without seals. Nothing can be said of them, and making them
    again costs no encoding, so such a table is replaced.

    Raises:
        StoreMismatch: it was made with other settings, or by somebody else.
    """
    have = {field.name: (field.type, field.nullable) for field in found}
    want = {field.name: (field.type, field.nullable) for field in wanted}
    differ = {key for key in have.keys() | want.keys() if have.get(key) != want.get(key)}
    if "id" in have and not found.field("id").metadata:
        differ.add("the key of id")
    if differ == lance_rows.SEALS and not have.keys() & differ:
        return "unsealed"
    if differ:
        raise StoreMismatch(
            f"the table {name} was made otherwise ({', '.join(sorted(differ))}); "
            "start a new generation, or move its folder away"
        )
    return "as wanted"
