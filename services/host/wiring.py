"""Adapters made from settings: those of a process, and those of each generation of the index.

Each is made at most once. Closing a generation closes only its own adapters, in reverse order.

Heavy ones (model, store) load in the background from the first request for them. A service requests
them before it takes messages, and so can handle each message; the gateway answers meanwhile.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine
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
    ChangeLog,
    ContentStore,
    Encoder,
    Ledger,
    Publish,
    Shelf,
    TokenCounter,
    VectorCache,
    VectorStore,
)
from shared.settings import Embedding, Settings

if TYPE_CHECKING:
    from shared.encoders.coalesce import CoalescingEncoder
    from shared.reading.pool import ReadApart
    from shared.stores.coalesce import CoalescingStore

log = structlog.get_logger()

T = TypeVar("T")

MODEL: Final = "model"
WEBHOOKS: Final = "webhooks"
STORE: Final = "store"
AGAIN_S: Final = 5.0


def utc_now() -> datetime:
    return datetime.now(UTC)


class Once:
    """Objects that are made at the first request for them, and kept."""

    def __init__(self) -> None:
        self._made: dict[str, asyncio.Task[Any]] = {}

    async def __call__(self, name: str, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of `make`. A request after a transient failure tries again."""
        if name not in self._made or _may_work_now(self._made[name]):
            self._made[name] = asyncio.create_task(make(), name=f"make {name}")
        made: T = await asyncio.shield(self._made[name])
        return made

    def __contains__(self, name: str) -> bool:
        """Whether it was requested."""
        return name in self._made

    def now(self, name: str) -> Any:
        """The object. Raises StillLoading, or the error of making it."""
        task = self._made.get(name)
        if task is None or not task.done():
            raise StillLoading(f"the {name} is loading")
        if task.cancelled():
            raise StillLoading(f"the {name} was closed")
        if error := task.exception():
            raise error.with_traceback(None)
        return task.result()

    def made(self, name: str) -> Any:
        """The object if it is made, else None."""
        task = self._made.get(name)
        done = task is not None and task.done() and not task.cancelled()
        return task.result() if task and done and not task.exception() else None

    async def end(self) -> None:
        """Cancel the running tasks; return when all have ended."""
        await cancel_all([task for task in self._made.values() if not task.done()])


@dataclass(slots=True, eq=False)
class Host:
    """Adapters that all generations of the index in a process share."""

    settings: Settings
    data: Path
    session: BusSession
    progress: Progress
    gateway_url: asyncio.Future[str] = field(default_factory=asyncio.Future)
    """Address of this process's gateway, once it listens."""
    browser_path: str = ""
    """Below it, the first link that lets a browser in; it works once."""
    bus_url: str = ""
    """At which another process of this instance reaches the bus, with its secret; empty: there is
    none, and each process of the instance answers searches itself."""
    _once: Once = field(default_factory=Once)
    opened: "dict[str, OpenGeneration]" = field(default_factory=dict)
    """The generations that are open, by id."""
    _reading: "ReadApart | None" = None

    @property
    def reading(self) -> "ReadApart":
        """The processes that read documents; none starts before the first document."""
        if self._reading is None:
            from shared.reading.pool import Allowed, ReadApart

            limits = self.settings.extraction
            self._reading = ReadApart(Allowed(limits.memory, limits.timeout))
        return self._reading

    @property
    def publish(self) -> Publish:
        return self.session.publish

    @property
    def changes(self) -> ChangeLog:
        return JetChangeLog(self.session.js)

    def generation(self, generation: Generation) -> "OpenGeneration":
        """The adapters of a generation; every call returns the same ones."""
        if generation.id not in self.opened:
            self.opened[generation.id] = OpenGeneration(self, generation)
        return self.opened[generation.id]

    async def shelf(self, bucket: Bucket) -> Shelf:
        async def make() -> Shelf:
            shelf = KvShelf(self.session.js, bucket.name)
            await shelf.open()
            return shelf

        return await self._once(f"shelf {bucket.name}", make)

    async def history(self) -> History:
        async def make() -> History:
            return History(await self.shelf(BATCHES))

        return await self._once("history", make)

    async def cache(self) -> VectorCache:
        async def make() -> VectorCache:
            cache = KvCache(self.session.js)
            await cache.open()
            return cache

        return await self._once("cache", make)

    async def bodies(self) -> ContentStore:
        return ObjectContent(self.session.js)

    async def close(self) -> None:
        """Close every generation that is open."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._once.end)
            if self._reading is not None:
                stack.push_async_callback(self._reading.close)
            for opened in self.opened.values():
                stack.push_async_callback(opened.close)


@dataclass(slots=True, eq=False)
class OpenGeneration:
    """The adapters of one generation of the index; several may be open in a process."""

    host: Host
    generation: Generation
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    """Closed with it."""
    once: Once = field(default_factory=Once)

    @property
    def embedding(self) -> Embedding:
        """Settings of its model, also after the configured one changed."""
        own = {"model": self.generation.model, "numeric": self.generation.numeric}
        return self.host.settings.embedding.model_copy(update=own)

    async def close(self) -> None:
        """Close its adapters; those of other generations stay."""
        self.host.opened.pop(self.generation.id, None)
        await self.once.end()
        await self.stack.aclose()

    async def ledger(self) -> Ledger:
        return await self.once("ledger", self._ledger)

    async def book(self) -> BatchBook:
        async def build() -> BatchBook:
            return BatchBook(await self.host.shelf(BATCHES), self.generation.id)

        return await self.once("book", build)

    async def tokens(self) -> TokenCounter:
        """The tokenizer, which decides where text is cut.

        Raises:
            ModelMismatch: the files at hand are not those of the index's model.
        """
        return await self.once("tokens", self._tokens)

    async def store(self) -> "CoalescingStore":
        """The store, once it is open. Raises the error of opening it."""
        return await self.once(STORE, self._open_store)

    async def encoder(self) -> "CoalescingEncoder":
        """The encoder, once it is loaded. Raises the error of loading it."""
        return await self.once(MODEL, self._load_encoder)

    async def store_now(self) -> VectorStore:
        """The store, if it is open. Raises StillLoading, or the error of opening it."""
        store: VectorStore = self.once.now(STORE)
        return store

    async def encoder_now(self) -> Encoder:
        """The encoder, if it is loaded. Raises StillLoading, or the error of loading it."""
        encoder: Encoder = self.once.now(MODEL)
        return encoder

    def loading(self) -> dict[str, str]:
        """Of `model` and `store`, those requested and not ready yet, with the reason."""
        found = {}
        for name in (MODEL, STORE):
            try:
                if name in self.once:
                    self.once.now(name)
            except InstepError as error:
                found[name] = str(error)
            except Exception as error:  # noqa: BLE001 - callers that need it get it
                found[name] = type(error).__name__
        return found

    async def _ledger(self) -> Ledger:
        ledger = KvLedger(self.host.session.js, self.generation.id)
        await ledger.open()
        return ledger

    async def _tokens(self) -> TokenCounter:
        from shared.encoders.registry import describe, load_tokenizer

        found, _ = await asyncio.to_thread(describe, self.embedding)
        check_fingerprint(found, self.generation)
        return await asyncio.to_thread(load_tokenizer, self.embedding)

    async def _open_store(self) -> "CoalescingStore":
        from shared.stores.registry import Wanted, open_store

        generation = self.generation
        wanted = Wanted(generation.id, generation.dimensions, self.host.data / "store")
        store = await open_store(self.host.settings.store, wanted)
        self.stack.push_async_callback(store.close)
        return store

    async def _load_encoder(self) -> "CoalescingEncoder":
        from shared.encoders.registry import load_encoder

        encoder = await load_encoder(self.embedding, self.stack)
        check_fingerprint(encoder.fingerprint, self.generation)
        encoder.fingerprint = self.generation.fingerprint  # the name that the index knows
        return encoder


async def cancel_all(tasks: Collection["asyncio.Task[Any]"]) -> None:
    """Cancel tasks and return when all have ended.

    Before Python 3.12 `asyncio.wait_for`, which the client of the bus uses, may swallow a
    cancellation; so it is repeated.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_S)


def _may_work_now(task: asyncio.Task[Any]) -> bool:
    failed = task.done() and not task.cancelled()
    return failed and isinstance(task.exception(), TransientError)


def check_fingerprint(found: str, generation: Generation) -> None:
    """Keep vectors of two models apart. Raises ModelMismatch for files of another model."""
    if found != generation.encoder_fingerprint:
        raise ModelMismatch(
            f"the files of {generation.model} are not those that the index was built with: "
            f"bring those back, which keeps the index, or {ANEW}"
        )
