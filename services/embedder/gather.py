"""Look-ups and writes of parts that are in hand together share their requests to the bus.

A part may be of one text only, and then a request for each would cost more than its vector. A call
that comes while nothing is under way goes at once; those that come meanwhile go together.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextvars import Context
from typing import Final, Generic, TypeVar

from shared.ordering import Record
from shared.ports import Entry, Ledger, Vector, VectorCache

MOST_KEYS: Final = 512
"""Keys of a request, unless one call alone has more."""

C = TypeVar("C", bound=Collection[str])
A = TypeVar("A")


class Gather(Generic[C, A]):
    """One call of `together` for those that wait; each of them gets its answer, or its error.

    Args:
        together: never called while it is under way.
    """

    def __init__(self, together: Callable[[Sequence[C]], Awaitable[A]]) -> None:
        self._together = together
        self._waiting: deque[tuple[C, asyncio.Future[A]]] = deque()
        self._runner: asyncio.Task[None] | None = None

    async def __call__(self, call: C) -> A:
        """Raises what `together` raises."""
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, answer))
        if self._runner is None:  # an empty context: what it logs belongs to no single part
            self._runner = asyncio.create_task(self._run(), context=Context())
        return await answer

    async def _run(self) -> None:
        group: list[tuple[C, asyncio.Future[A]]] = []
        try:
            while group := self._next():
                await self._answer(group)
        finally:
            self._runner = None
            for _, answer in (*group, *self._waiting):  # none, unless the process is stopping
                answer.cancel()
            self._waiting.clear()

    def _next(self) -> list[tuple[C, asyncio.Future[A]]]:
        """The oldest calls that share a request; a caller that has gone is forgotten."""
        group: list[tuple[C, asyncio.Future[A]]] = []
        keys = 0
        while self._waiting:
            call, answer = self._waiting[0]
            if group and keys + len(call) > MOST_KEYS:
                break
            self._waiting.popleft()
            if not answer.done():
                group.append((call, answer))
                keys += len(call)
        return group

    async def _answer(self, group: Sequence[tuple[C, asyncio.Future[A]]]) -> None:
        try:
            found = await self._together([call for call, _ in group])
        except Exception as error:  # noqa: BLE001 - each caller has to learn of it
            for _, answer in group:
                if not answer.done():
                    answer.set_exception(error)
                    answer.exception()  # seen: its caller may be cancelled before it wakes
            return
        for _, answer in group:
            if not answer.done():
                answer.set_result(found)


class GatheredCache:
    """Implements `shared.ports.VectorCache` over another."""

    def __init__(self, inner: VectorCache) -> None:
        self._inner = inner
        self._gets: Gather[Collection[str], Mapping[str, Vector]] = Gather(self._get)
        self._puts: Gather[Mapping[str, Vector], None] = Gather(self._put)

    async def get_many(self, keys: Collection[str]) -> Mapping[str, Vector]:
        found = await self._gets(keys)
        return {key: found[key] for key in keys if key in found}

    async def put_many(self, vectors: Mapping[str, Vector]) -> None:
        if vectors:
            await self._puts(vectors)

    async def _get(self, calls: Sequence[Collection[str]]) -> Mapping[str, Vector]:
        return await self._inner.get_many(set().union(*calls))

    async def _put(self, calls: Sequence[Mapping[str, Vector]]) -> None:
        await self._inner.put_many({key: made for call in calls for key, made in call.items()})


class GatheredLedger:
    """Records by `get_many`, which a replica of the bus may answer that lags.

    An embedder only leaves out what a record calls overtaken or settled, and that stays true: an
    older record costs work, never a part. Nobody may write by what is read here.
    """

    def __init__(self, inner: Ledger) -> None:
        self._inner = inner
        self._gets: Gather[Collection[str], Mapping[str, Record]] = Gather(self._get)

    async def get(self, doc_key: str) -> Entry | None:
        record = (await self._gets((doc_key,))).get(doc_key)
        return Entry(record, at=-1) if record else None

    async def _get(self, calls: Sequence[Collection[str]]) -> Mapping[str, Record]:
        return await self._inner.get_many(set().union(*calls))
