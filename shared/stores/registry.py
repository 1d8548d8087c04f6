"""The kinds of stores, and how each is opened from its settings.

A new kind is a folder beside this file, a line in `STORES`, and its settings in
`shared.settings.Store`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from shared.domain.errors import ConfigurationError
from shared.ports import VectorStore
from shared.settings import SettingsGroup, Store
from shared.stores.coalesce import GATHER_S, SERVER_GATHER_S, CoalescingStore

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Wanted:
    """The index of a generation.

    folder: for what a store keeps on this machine.
    """

    generation: str
    dimensions: int
    folder: Path


@dataclass(frozen=True, slots=True)
class StoreKind:
    """
    gather_s: how long an upsert may wait for company (`shared.stores.coalesce`).
    look: a line about its server, for `instep doctor`; it changes nothing, and raises as `open`.
    """

    open: Callable[[Store, Wanted], Awaitable[VectorStore]]
    gather_s: float
    look: Callable[[Store], Coroutine[Any, Any, str]] | None = None


async def _lance(settings: Store, wanted: Wanted) -> VectorStore:
    from shared.stores.lance.store import LanceStore

    return await LanceStore.open(
        settings.path or wanted.folder,
        table=f"chunks_{wanted.generation}",
        dimensions=wanted.dimensions,
    )


async def _sqlite(settings: Store, wanted: Wanted) -> VectorStore:
    from shared.stores.sqlite.store import SqliteStore

    return await SqliteStore.open(
        settings.path or wanted.folder,
        table=f"chunks_{wanted.generation}",
        dimensions=wanted.dimensions,
    )


async def _weaviate(settings: Store, wanted: Wanted) -> VectorStore:
    from shared.stores.weaviate.store import Address, WeaviateStore, alias_name, collection_name

    server = settings.weaviate
    store = await WeaviateStore.open(
        Address.of(server.url, server.grpc, server.tls_ca),
        name=collection_name(server.prefix, wanted.generation),
        dimensions=wanted.dimensions,
        api_key=await asyncio.to_thread(secret_of, server, "store.weaviate.key"),
        replicas=server.replicas,
        alias=alias_name(server.prefix),
    )
    if store.notice:
        log.warning("store_is_old", what=store.notice)
    return store


async def _pgvector(settings: Store, wanted: Wanted) -> VectorStore:
    from shared.stores.pgvector.store import PgvectorStore, table_name

    url, password = await _database(settings)
    store = await PgvectorStore.open(
        url,
        table=table_name(settings.pgvector.prefix, wanted.generation),
        dimensions=wanted.dimensions,
        password=password,
    )
    if store.notice:
        log.warning("store_is_slow", what=store.notice)
    return store


async def _look_at_pgvector(settings: Store) -> str:
    from shared.stores.pgvector.store import look

    return await look(*await _database(settings))


async def _database(settings: Store) -> tuple[str, str | None]:
    """Address and password. Raises ConfigurationError: one is missing."""
    server = settings.pgvector
    if server.url is None:
        raise ConfigurationError(
            "store.pgvector.url is missing, as postgresql://instep@localhost/instep"
        )
    password = await asyncio.to_thread(secret_of, server, "store.pgvector.password")
    return server.url.get_secret_value(), password


async def _memory(_: Store, wanted: Wanted) -> VectorStore:
    from shared.stores.memory import MemoryStore

    return MemoryStore(wanted.dimensions)


STORES: Final[Mapping[str, StoreKind]] = {
    "sqlite": StoreKind(_sqlite, SERVER_GATHER_S),
    "lancedb": StoreKind(_lance, GATHER_S),
    "weaviate": StoreKind(_weaviate, SERVER_GATHER_S),
    "pgvector": StoreKind(_pgvector, SERVER_GATHER_S, _look_at_pgvector),
    "memory": StoreKind(_memory, GATHER_S),
}
"""By `store.kind`."""
AUTO: Final = "auto"
"""The kind that is `embedded`."""


async def open_store(settings: Store, wanted: Wanted) -> CoalescingStore:
    """Open or create the index of a generation in the store of the settings.

    Raises:
        StoreMismatch, ConfigurationError: only a person can put it right.
        StoreUnavailable: the store cannot be used at the moment.
    """
    name: str = settings.kind
    if name == AUTO:
        name = await asyncio.to_thread(embedded, settings.path or wanted.folder)
    kind = STORES[name]
    return CoalescingStore(await kind.open(settings, wanted), kind.gather_s)


def embedded(folder: Path) -> str:
    """The kind of a store in a folder, for settings that name none.

    An index that is there stays in its store: nobody fills one anew without wanting to.
    """
    has_lance = any(folder.glob("chunks_*.lance"))
    # the lock stays where the file was deleted or put aside, and is to be made anew
    has_sqlite = any(any(folder.glob(f"chunks_*.{end}")) for end in ("sqlite3", "lock"))
    return "lancedb" if has_lance and not has_sqlite else "sqlite"


def secret_of(settings: SettingsGroup, name: str) -> str | None:
    """A secret of the settings, or of the file that they name.

    Args:
        name: of the setting, from the top; that of the file ends in `_file`.

    Raises:
        ConfigurationError: its file cannot be read.
    """
    field = name.rpartition(".")[2]
    given, file = getattr(settings, field), getattr(settings, f"{field}_file")
    if given is not None:
        return str(given.get_secret_value())
    if file is None:
        return None
    try:
        return str(file.read_text(encoding="utf-8")).strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"{name}_file: {file} cannot be read") from None
