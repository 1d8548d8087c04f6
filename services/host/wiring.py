"""Settings to adapters: each is built at most once in a process and closed in reverse order.

Heavy ones (model, store) load in the background from the first question for them on. A service asks
before it takes messages, and so takes none that it cannot handle; the gateway answers meanwhile.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

from shared.batches.history import History
from shared.batches.members import BatchBook
from shared.bus.jetstream.change_log import JetChangeLog
from shared.bus.jetstream.content import ObjectContent
from shared.bus.jetstream.kv import KvShelf
from shared.bus.jetstream.ledger import KvLedger
from shared.bus.jetstream.vector_cache import KvCache
from shared.bus.session import BusSession
from shared.domain.errors import (
    ConfigurationError,
    InstepError,
    ModelMismatch,
    StillLoading,
    TransientError,
)
from shared.domain.topology import BATCHES, Bucket
from shared.generation import Generation
from shared.live import ANEW
from shared.observe.progress import Progress
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
from shared.settings import Embedding, Settings, Weaviate

if TYPE_CHECKING:
    from shared.encoders.coalesce import CoalescingEncoder
    from shared.stores.coalesce import CoalescingStore

log = structlog.get_logger()

T = TypeVar("T")

MODEL: Final = "model"
STORE: Final = "store"


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
    runs: bool = True
    """An instance runs; else the bus was opened to be asked, and no process watches or works."""
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
        """The tokenizer, which decides where text is cut.

        Raises:
            ModelMismatch: the files at hand are not those of the index's model.
        """
        return await self.once("tokens", self._tokens)

    async def store(self) -> "CoalescingStore":
        """The store, once it is open. Raises what opening it raises."""
        return await self.once(STORE, self._open_store)

    async def encoder(self) -> "CoalescingEncoder":
        """The encoder, once it is loaded. Raises what loading it raises."""
        return await self.once(MODEL, self._load_encoder)

    async def store_now(self) -> VectorStore:
        """The store, if it is open. Raises StillLoading, or what opening it raised."""
        store: VectorStore = self._now(STORE)
        return store

    async def encoder_now(self) -> Encoder:
        """The encoder, if it is loaded. Raises StillLoading, or what loading it raised."""
        encoder: Encoder = self._now(MODEL)
        return encoder

    def loading(self) -> dict[str, str]:
        """What was asked for and cannot be used yet, `model` or `store`, and why."""
        found = {}
        for name in (MODEL, STORE):
            try:
                if name in self._built:
                    self._now(name)
            except InstepError as error:
                found[name] = str(error)
            except Exception as error:  # noqa: BLE001 - whoever asked for it meets it
                found[name] = type(error).__name__
        return found

    def _now(self, name: str) -> Any:
        task = self._built.get(name)
        if task is None or not task.done():
            raise StillLoading(f"the {name} is loading")
        if task.cancelled():
            raise StillLoading(f"the {name} was closed")
        if error := task.exception():
            raise error.with_traceback(None)
        return task.result()

    async def once(self, name: str, build: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `build` makes, made at the first question for the name.

        A question after a try that failed for a while is another try.
        """
        if name not in self._built or _may_work_now(self._built[name]):
            self._built[name] = asyncio.create_task(build(), name=f"build {name}")
        built: T = await asyncio.shield(self._built[name])
        return built

    def built(self, name: str) -> Any:
        """What `once` has made for the name by now, or None."""
        task = self._built.get(name)
        done = task is not None and task.done() and not task.cancelled()
        return task.result() if task and done and not task.exception() else None

    def unfinished(self) -> list[asyncio.Task[Any]]:
        """What is being made; to be cancelled at the end."""
        return [task for task in self._built.values() if not task.done()]

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
        from shared.encoders.registry import describe, load_tokenizer

        found, _ = await asyncio.to_thread(describe, self.embedding)
        check_fingerprint(found, self.generation)
        return await asyncio.to_thread(load_tokenizer, self.embedding)

    async def _open_store(self) -> "CoalescingStore":
        from shared.stores.coalesce import GATHER_S, SERVER_GATHER_S, CoalescingStore

        is_server = self.settings.store.kind == "weaviate"
        store = CoalescingStore(
            await self._inner_store(), SERVER_GATHER_S if is_server else GATHER_S
        )
        self.stack.push_async_callback(store.close)
        return store

    async def _inner_store(self) -> VectorStore:
        settings, generation = self.settings.store, self.generation
        if settings.kind == "memory":
            from shared.stores.memory import MemoryStore

            return MemoryStore(generation.dimensions)
        if settings.kind == "weaviate":
            return await self._weaviate_store()
        from shared.stores.lance.store import LanceStore

        return await LanceStore.open(
            settings.path or self.data / "store",
            table=f"chunks_{generation.id}",
            dimensions=generation.dimensions,
        )

    async def _weaviate_store(self) -> VectorStore:
        from shared.stores.weaviate.store import Address, WeaviateStore, alias_name, collection_name

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

    async def _load_encoder(self) -> "CoalescingEncoder":
        from shared.encoders.registry import load_encoder

        encoder = await load_encoder(self.embedding, self.stack)
        check_fingerprint(encoder.fingerprint, self.generation)
        encoder.fingerprint = self.generation.fingerprint  # the name that the index knows
        return encoder


def _may_work_now(task: asyncio.Task[Any]) -> bool:
    failed = task.done() and not task.cancelled()
    return failed and isinstance(task.exception(), TransientError)


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
