"""Many concurrent store calls, one commit.

A commit costs the store the same for one row as for hundreds. So calls that arrive while one is
under way wait for it and then go together (group commit), and while many come one after the other,
a group waits for more of them; a lone call never waits. Whether there is a load is told by the
calls that come here, so it is the same wherever the rows come from. Each caller keeps its own
result and its own error.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from shared.errors import VectorsRejected
from shared.ports import Digest, Filter, Hit, Holding, Probe, Row, Vector, VectorStore

ROWS: Final = 1024
"""Most rows of a group; a larger call goes alone."""
BYTES: Final = 8 * 1024 * 1024
COMPANY: Final = 32
"""Calls that are worth going without more: the handlers of a stage are not many more."""
RUSH: Final = 12
RUSH_S: Final = 2.0
"""So many calls within this time are a load; edits by hand are fewer."""
GATHER_S: Final = 0.75
"""How long a group may wait for company during a load."""
SILENCE_S: Final = 0.25
"""When no call has come for so long, there is no company to wait for."""
GLANCE_S: Final = 0.05

Call = TypeVar("Call")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Size:
    rows: int
    bytes: int = 0


@dataclass(slots=True)
class _Waiting(Generic[Call, Result]):
    call: Call
    size: Size
    result: "asyncio.Future[Result]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Rush:
    """When the last calls came. Pure: it is told the time, in seconds of any clock."""

    def __init__(self) -> None:
        self._came: deque[float] = deque(maxlen=RUSH)

    def note(self, now: float) -> None:
        self._came.append(now)

    def forget(self) -> None:
        self._came.clear()

    def is_on(self, now: float) -> bool:
        """Whether so many calls came lately that fewer and larger groups are worth a wait."""
        return len(self._came) == RUSH and now - self._came[0] <= RUSH_S

    def is_over(self, now: float) -> bool:
        """Whether no call has come for a while."""
        return not self._came or now - self._came[-1] >= SILENCE_S


class Group(Generic[Call, Result]):
    """Runs calls together, one group at a time.

    Args:
        together: runs a group; one result or error for each call, in their order. What it
            raises itself reaches every caller of the group.
        size: what a call weighs against `ROWS` and `BYTES`.
        gather_s: how long a group may wait for company while calls rush in; 0: never.
    """

    def __init__(
        self,
        together: Callable[[Sequence[Call]], Awaitable[Sequence[Result | Exception]]],
        size: Callable[[Call], Size],
        gather_s: float = 0.0,
    ) -> None:
        self._together = together
        self._size = size
        self._gather_s = gather_s
        self._rush = Rush()
        self._waiting: deque[_Waiting[Call, Result]] = deque()
        self._runner: asyncio.Task[None] | None = None

    async def __call__(self, call: Call) -> Result:
        waiting: _Waiting[Call, Result] = _Waiting(call, self._size(call))
        self._waiting.append(waiting)
        self._rush.note(asyncio.get_running_loop().time())
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        return await waiting.result

    async def finished(self) -> None:
        """Wait for every call that has been made."""
        if self._runner is not None:
            await asyncio.shield(self._runner)

    async def _run(self) -> None:
        try:
            await self._gather()
            while group := self._next():
                await self._settle(group)
                if self._waiting:
                    await self._gather()
        finally:
            self._runner = None
            for left in self._waiting:
                left.result.cancel()

    async def _gather(self) -> None:
        """While calls rush in, wait for company: until enough of it is here, or no more comes."""
        clock = asyncio.get_running_loop().time
        until = clock() + self._gather_s
        if not self._rush.is_on(clock()):
            return
        while len(self._waiting) < COMPANY and clock() < until and not self._rush.is_over(clock()):
            await asyncio.sleep(GLANCE_S)
        if len(self._waiting) < 2:  # one caller, who waits for each of its calls: no load
            self._rush.forget()

    def _next(self) -> "list[_Waiting[Call, Result]]":
        """The longest run of waiting calls that fits; a cancelled caller's is dropped."""
        live = deque(one for one in self._waiting if not one.result.done())
        most = fitting([one.size for one in live])
        group = [live.popleft() for _ in range(most)]
        self._waiting = live
        return group

    async def _settle(self, group: "Sequence[_Waiting[Call, Result]]") -> None:
        try:
            results: Sequence[Result | Exception] = await self._together(
                [one.call for one in group]
            )
        except Exception as error:  # noqa: BLE001  every caller of the group has to learn of it
            results = [error] * len(group)
        except asyncio.CancelledError:
            for one in group:
                one.result.cancel()
            raise
        for one, result in zip(group, results, strict=True):
            if one.result.done():
                continue  # its caller was cancelled; the others are not concerned
            if isinstance(result, Exception):
                one.result.set_exception(result)
                one.result.exception()  # seen: its caller may be cancelled before it wakes
            else:
                one.result.set_result(result)


class CoalescingStore:
    """Implements `shared.ports.VectorStore` over another: concurrent calls share inner ones.

    Args:
        gather_s: how long an upsert may wait for company while many come. A load as a whole is
            done sooner by fewer and larger commits, for they leave the processor to the model.
    """

    def __init__(self, inner: VectorStore, gather_s: float = 0.0) -> None:
        self.dimensions = inner.dimensions
        self._inner = inner
        self._upserts: Group[Sequence[Row], None] = Group(self._upsert, _weigh, gather_s)
        self._deletes: Group[Collection[str], None] = Group(self._delete, _length)
        self._ids: Group[Mapping[str, int], Mapping[str, frozenset[str]]] = Group(
            self._find_ids, _length
        )
        self._probes: Group[Sequence[Probe], frozenset[str]] = Group(self._probe, _length)

    async def upsert(self, rows: Sequence[Row]) -> None:
        await self._upserts(rows)

    async def delete(self, ids: Collection[str]) -> None:
        await self._deletes(ids)

    async def ids(self, documents: Mapping[str, int]) -> Mapping[str, frozenset[str]]:
        return await self._ids(documents)

    async def unsearchable(self, probes: Sequence[Probe]) -> frozenset[str]:
        return await self._probes(probes)

    async def search(self, vector: Vector, *, limit: int, where: Filter) -> Sequence[Hit]:
        return await self._inner.search(vector, limit=limit, where=where)

    async def search_text(self, text: str, *, limit: int, where: Filter) -> Sequence[Hit]:
        return await self._inner.search_text(text, limit=limit, where=where)

    async def rows(self, ids: Collection[str]) -> Mapping[str, Hit]:
        return await self._inner.rows(ids)

    async def count(self) -> int:
        return await self._inner.count()

    async def digests(self) -> Mapping[str, Digest]:
        return await self._inner.digests()

    async def holdings(self, buckets: Collection[str]) -> Mapping[str, Holding]:
        return await self._inner.holdings(buckets)

    async def lag_s(self) -> float | None:
        return await self._inner.lag_s()

    async def maintain(self) -> None:
        await self._inner.maintain()

    async def close(self) -> None:
        """Wait for calls under way, then close the inner store."""
        for group in (self._upserts, self._deletes, self._ids, self._probes):
            await group.finished()
        await self._inner.close()

    async def _upsert(self, calls: Sequence[Sequence[Row]]) -> Sequence[Exception | None]:
        try:
            await self._inner.upsert([row for rows in calls for row in rows])
        except VectorsRejected as error:
            return [own_rejection(rows, error) for rows in calls]
        return [None] * len(calls)

    async def _delete(self, calls: Sequence[Collection[str]]) -> Sequence[None]:
        await self._inner.delete({key for ids in calls for key in ids})
        return [None] * len(calls)

    async def _find_ids(
        self, calls: Sequence[Mapping[str, int]]
    ) -> Sequence[Mapping[str, frozenset[str]] | Exception]:
        answers: list[Mapping[str, frozenset[str]]] = []
        for agreeing in agreeing_runs(calls):
            found = await self._inner.ids(
                {k: born for call in agreeing for k, born in call.items()}
            )
            answers.extend({key: found[key] for key in call} for call in agreeing)
        return answers

    async def _probe(self, calls: Sequence[Sequence[Probe]]) -> Sequence[frozenset[str]]:
        lost = await self._inner.unsearchable([probe for probes in calls for probe in probes])
        return [lost & {probe.id for probe in probes} for probes in calls]


def fitting(sizes: Sequence[Size]) -> int:
    """How many of the first calls go together: what fits, and at least one."""
    rows = size = 0
    for count, one in enumerate(sizes):
        rows, size = rows + one.rows, size + one.bytes
        if count and (rows > ROWS or size > BYTES):
            return count
    return len(sizes)


def agreeing_runs(calls: Sequence[Mapping[str, int]]) -> list[list[Mapping[str, int]]]:
    """The calls in order, cut wherever one asks for a document with another `born`."""
    runs: list[list[Mapping[str, int]]] = []
    asked: dict[str, int] = {}
    for call in calls:
        if not runs or any(asked.get(key, born) != born for key, born in call.items()):
            runs.append([])
            asked = {}
        runs[-1].append(call)
        asked.update(call)
    return runs


def own_rejection(rows: Sequence[Row], error: VectorsRejected) -> VectorsRejected | None:
    """The part of a group's rejection that concerns the rows of one caller."""
    own = error.ids & {row.id for row in rows}
    return VectorsRejected(f"{len(own)} of {len(rows)} vectors were rejected", own) if own else None


def _weigh(rows: Sequence[Row]) -> Size:
    return Size(len(rows), sum(row.vector.nbytes + 4 * len(row.text) for row in rows))


def _length(call: Collection[object]) -> Size:
    return Size(len(call))
