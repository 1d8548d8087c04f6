"""Stand-ins for what takes seconds to load: known at once, awaited at the first call."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from shared.ports import (
    Digest,
    Encoder,
    Filter,
    Hit,
    Holding,
    Probe,
    Row,
    Vector,
    Vectors,
    VectorStore,
)
from shared.stores.coalesce import CoalescingStore


def _missing(loading: "asyncio.Future[Any]") -> str:
    if not loading.done():
        return "it loads"
    if loading.cancelled():
        return "it was closed"
    return str(loading.exception() or "")


class DeferredEncoder:
    """Implements `shared.ports.Encoder` over one that is still loading."""

    def __init__(self, fingerprint: str, dimensions: int, loading: Awaitable[Encoder]) -> None:
        self.fingerprint, self.dimensions = fingerprint, dimensions
        self._loading = asyncio.ensure_future(loading)

    async def ready(self) -> Encoder:
        """The encoder, once it is loaded. Raises what loading raised."""
        return await asyncio.shield(self._loading)

    @property
    def loaded(self) -> Encoder | None:
        """The encoder if it is loaded by now."""
        done = self._loading.done() and not self._loading.cancelled()
        return self._loading.result() if done and not self._loading.exception() else None

    @property
    def missing(self) -> str:
        """Why it cannot be used yet; empty once it is loaded."""
        return _missing(self._loading)

    async def encode(self, texts: Sequence[str]) -> Vectors:
        return await (await self.ready()).encode(texts)


class EncoderOnDemand:
    """Implements `shared.ports.Encoder` over one that nobody loads before the first call."""

    def __init__(
        self, fingerprint: str, dimensions: int, get: Callable[[], Awaitable[Encoder]]
    ) -> None:
        self.fingerprint, self.dimensions = fingerprint, dimensions
        self._get = get

    async def encode(self, texts: Sequence[str]) -> Vectors:
        return await (await self._get()).encode(texts)


class DeferredStore:
    """Implements `shared.ports.VectorStore` over one that is still opening."""

    def __init__(self, dimensions: int, opening: Awaitable[VectorStore]) -> None:
        self.dimensions = dimensions
        self._opening = asyncio.ensure_future(opening)

    async def ready(self) -> VectorStore:
        """The store, once it is open. Raises what opening raised."""
        return await asyncio.shield(self._opening)

    @property
    def missing(self) -> str:
        """Why it cannot be used yet; empty once it is open."""
        return _missing(self._opening)

    async def upsert(self, rows: Sequence[Row]) -> None:
        await (await self.ready()).upsert(rows)

    async def delete(self, ids: Collection[str]) -> None:
        await (await self.ready()).delete(ids)

    async def ids(self, documents: Mapping[str, int]) -> Mapping[str, frozenset[str]]:
        return await (await self.ready()).ids(documents)

    async def unsearchable(self, probes: Sequence[Probe]) -> frozenset[str]:
        return await (await self.ready()).unsearchable(probes)

    async def search(self, vector: Vector, *, limit: int, where: Filter) -> Sequence[Hit]:
        return await (await self.ready()).search(vector, limit=limit, where=where)

    async def search_text(self, text: str, *, limit: int, where: Filter) -> Sequence[Hit]:
        return await (await self.ready()).search_text(text, limit=limit, where=where)

    async def rows(self, ids: Collection[str]) -> Mapping[str, Hit]:
        return await (await self.ready()).rows(ids)

    async def count(self) -> int:
        return await (await self.ready()).count()

    async def digests(self) -> Mapping[str, Digest]:
        return await (await self.ready()).digests()

    async def holdings(self, buckets: Collection[str]) -> Mapping[str, Holding]:
        return await (await self.ready()).holdings(buckets)

    async def lag_s(self) -> float | None:
        return await (await self.ready()).lag_s()

    async def incarnation(self) -> str | None:
        return await (await self.ready()).incarnation()

    async def maintain(self) -> None:
        await (await self.ready()).maintain()

    async def close(self) -> None:
        if self._opening.done() and not self._opening.cancelled() and not self._opening.exception():
            await self._opening.result().close()
        else:
            self._opening.cancel()


class ExpressStore(DeferredStore):
    """The same store, for calls that go before all others; who has that one closes both."""

    def __init__(self, store: DeferredStore) -> None:
        self.dimensions = store.dimensions
        self._store = store
        self._express: VectorStore | None = None

    async def ready(self) -> VectorStore:
        """The express side of the store, once it is open. Raises what opening raised."""
        store = await self._store.ready()
        if self._express is None:
            self._express = store.express() if isinstance(store, CoalescingStore) else store
        return self._express

    @property
    def missing(self) -> str:
        """Why it cannot be used yet; empty once it is loaded."""
        return self._store.missing

    async def close(self) -> None:
        """Nothing: the store is closed by who has it."""
