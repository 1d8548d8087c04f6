"""Settings to adapters: each is built at most once in a process and closed in reverse order.

Heavy ones (model, embedded store) load in the background from the first question for them on; what
is handed out waits for them at its first call.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import structlog

from shared.batches import BatchBook
from shared.bus.changes import JetChangeLog
from shared.bus.session import BusSession
from shared.caches.kv import KvCache
from shared.content.objects import ObjectContent
from shared.deferred import DeferredEncoder, DeferredStore, EncoderOnDemand
from shared.errors import ConfigurationError, ModelMismatch
from shared.generations import Generation
from shared.history import History
from shared.ledgers.kv import KvLedger
from shared.live import ANEW
from shared.ports import (
    Auditor,
    ChangeLog,
    ContentStore,
    Encoder,
    Holds,
    Ledger,
    Publish,
    Shelf,
    TokenCounter,
    VectorCache,
    VectorStore,
)
from shared.progress import Progress
from shared.settings import Embedding, Settings, Weaviate
from shared.shelves.kv import KvShelf
from shared.topology import BATCHES, Bucket

log = structlog.get_logger()

T = TypeVar("T")


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Wiring:
    """One process's adapters for one generation."""

    settings: Settings
    data: Path
    session: BusSession
    generation: Generation
    progress: Progress
    stack: AsyncExitStack
    gateway_url: asyncio.Future[str] = field(default_factory=asyncio.Future)
    """Where the gateway of this process listens, once it does."""
    holds: Holds | None = None
    """Removals that wait; None where this process watches no folders."""
    auditor: Auditor | None = None
    """The source's side of the sweep; None where this process watches no folders."""
    _built: dict[str, asyncio.Task[Any]] = field(default_factory=dict)

    @property
    def publish(self) -> Publish:
        return self.session.publish

    @property
    def changes(self) -> ChangeLog:
        return JetChangeLog(self.session.js)

    @property
    def embedding(self) -> Embedding:
        """Settings of the live generation's model, whatever is asked for by now."""
        live = {"model": self.generation.model, "numeric": self.generation.numeric}
        return self.settings.embedding.model_copy(update=live)

    async def ledger(self) -> Ledger:
        return await self.once("ledger", self._ledger)

    async def shelf(self, bucket: Bucket) -> Shelf:
        async def build() -> Shelf:
            shelf = KvShelf(self.session.js, bucket.name)
            await shelf.open()
            return shelf

        return await self.once(f"shelf {bucket.name}", build)

    async def book(self) -> BatchBook:
        async def build() -> BatchBook:
            return BatchBook(await self.shelf(BATCHES), self.generation.id)

        return await self.once("book", build)

    async def history(self) -> History:
        async def build() -> History:
            return History(await self.shelf(BATCHES))

        return await self.once("history", build)

    async def cache(self) -> VectorCache:
        return await self.once("cache", self._cache)

    async def bodies(self) -> ContentStore:
        return await self.once("bodies", self._bodies)

    async def tokens(self) -> TokenCounter:
        return await self.once("tokens", self._tokens)

    async def store(self) -> DeferredStore:
        """Raises nothing: an error of opening comes out of the first call."""
        return await self.once("store", self._deferred_store)

    async def encoder(self) -> DeferredEncoder:
        """Raises nothing: an error of loading comes out of the first call."""
        return await self.once("encoder", self._deferred_encoder)

    async def check_model(self) -> None:
        """Raise ModelMismatch where the files at hand are not those of the index's model."""
        from shared.encoders.factory import describe

        found, _ = await asyncio.to_thread(describe, self.embedding)
        check_fingerprint(found, self.generation)

    def encoder_on_demand(self) -> Encoder:
        """For who may never need it: a model takes memory, and not every process has one."""
        generation = self.generation
        return EncoderOnDemand(generation.fingerprint, generation.dimensions, self.encoder)

    async def once(self, name: str, build: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `build` makes, made at the first question for the name."""
        if name not in self._built:
            self._built[name] = asyncio.create_task(build(), name=f"build {name}")
        built: T = await asyncio.shield(self._built[name])
        return built

    def built(self, name: str) -> Any:
        """What `once` has made for the name by now, or None."""
        task = self._built.get(name)
        done = task is not None and task.done() and not task.cancelled()
        return task.result() if task and done and not task.exception() else None

    def forget(self, name: str) -> None:
        """Have `once` make it anew; for what could not be loaded."""
        self._built.pop(name, None)

    async def _ledger(self) -> Ledger:
        ledger = KvLedger(self.session.js, self.generation.id)
        await ledger.open()
        return ledger

    async def _cache(self) -> VectorCache:
        cache = KvCache(self.session.js)
        await cache.open()
        return cache

    async def _bodies(self) -> ContentStore:
        return ObjectContent(self.session.js)

    async def _tokens(self) -> TokenCounter:
        from shared.encoders.factory import load_tokenizer

        return await asyncio.to_thread(load_tokenizer, self.embedding)

    async def _deferred_store(self) -> DeferredStore:
        store = DeferredStore(self.generation.dimensions, self._open_store())
        self.stack.push_async_callback(store.close)
        return store

    async def _open_store(self) -> VectorStore:
        from shared.stores.coalesce import GATHER_S, SERVER_GATHER_S, CoalescingStore

        is_server = self.settings.store.kind == "weaviate"
        return CoalescingStore(
            await self._inner_store(), SERVER_GATHER_S if is_server else GATHER_S
        )

    async def _inner_store(self) -> VectorStore:
        settings, generation = self.settings.store, self.generation
        if settings.kind == "memory":
            from shared.stores.memory import MemoryStore

            return MemoryStore(generation.dimensions)
        if settings.kind == "weaviate":
            return await self._weaviate_store()
        from shared.stores.lance import LanceStore

        return await LanceStore.open(
            settings.path or self.data / "store",
            table=f"chunks_{generation.id}",
            dimensions=generation.dimensions,
        )

    async def _weaviate_store(self) -> VectorStore:
        from shared.stores.weaviate import Address, WeaviateStore, alias_name, collection_name

        settings = self.settings.store.weaviate
        store = await WeaviateStore.open(
            Address.of(settings.url, settings.grpc, settings.tls_ca),
            name=collection_name(settings.prefix, self.generation.id),
            dimensions=self.generation.dimensions,
            api_key=await asyncio.to_thread(key_of, settings),
            replicas=settings.replicas,
            alias=alias_name(settings.prefix),
        )
        if store.notice:
            log.warning("store_is_old", what=store.notice)
        return store

    async def _deferred_encoder(self) -> DeferredEncoder:
        generation = self.generation
        return DeferredEncoder(generation.fingerprint, generation.dimensions, self._load_encoder())

    async def _load_encoder(self) -> Encoder:
        from shared.encoders.factory import load_encoder

        encoder = await load_encoder(self.embedding, self.stack)
        check_fingerprint(encoder.fingerprint, self.generation)
        return encoder


def key_of(settings: Weaviate) -> str | None:
    """The key to show to Weaviate. Raises ConfigurationError when its file cannot be read."""
    if settings.key is not None:
        return settings.key.get_secret_value()
    if settings.key_file is None:
        return None
    try:
        return settings.key_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(
            f"store.weaviate.key_file: {settings.key_file} cannot be read"
        ) from None


def check_fingerprint(found: str, generation: Generation) -> None:
    """Vectors of two models must never meet under one name. Raises ModelMismatch."""
    if found != generation.encoder_fingerprint:
        raise ModelMismatch(
            f"the files of {generation.model} are not those that the index was built with: "
            f"bring those back, which keeps the index, or {ANEW}"
        )
