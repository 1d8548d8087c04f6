"""Concurrent calls that go together, one group at a time. It knows calls, not rows.

Calls that arrive while a group is under way wait for it and then go together, and while many come
one after the other, a group waits for more of them; a lone call never waits. An express call
(`shared.domain.priority`) waits only for the group under way, and shortly for others of its kind.
Each caller keeps its own result and its own error. Without these waits, an edit beside 50 others a
second is searchable 30 % later (median; 95 %: 12 to 56) and takes 6 % more of processor (0 to 9):
ten pairs of `bench/pairs.py --beside 50 --count 400 --turns 10 --turn 7 --model fake-384`.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

ROWS: Final = 1024
"""Most rows of a group; a larger call goes alone."""
BYTES: Final = 8 * 1024 * 1024
COMPANY: Final = 32
"""Calls that are worth going without more: the handlers of a stage are not many more."""
RUSH: Final = 12
RUSH_S: Final = 2.0
"""So many calls within this time are a load; edits by hand are fewer."""
SILENCE_S: Final = 0.25
"""When no call has come for so long, a group waits no more."""
GLANCE_S: Final = 0.05
EXPRESS_GATHER_S: Final = 0.1
"""How long a group with an express call may wait for company: so there are about ten of them a
second, and not many more."""

OVERTAKEN_S: Final = 2.0
"""How long a call may be overtaken by express ones."""

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
    express: bool
    since_s: float
    result: "asyncio.Future[Result]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Rush:
    """The times of the last calls. Pure: time is passed in, in seconds of any clock."""

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
        together: runs a group; one result or error for each call, in their order. Its own error
            reaches every caller of the group.
        size: the weight of a call against `ROWS` and `BYTES`.
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

    async def __call__(self, call: Call, *, express: bool = False) -> Result:
        """Raises the error of `together` for this call.

        Args:
            express: goes before those that are not.
        """
        now = asyncio.get_running_loop().time()
        waiting: _Waiting[Call, Result] = _Waiting(call, self._size(call), express, now)
        self._waiting.append(waiting)
        self._rush.note(now)
        if self._runner is None:
            # an empty context: what is logged there belongs to no single caller
            self._runner = asyncio.create_task(self._run(), context=Context())
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
        began = clock()
        if not self._rush.is_on(began):
            return
        while len(self._waiting) < COMPANY and not self._rush.is_over(clock()):
            left_s = self._patience_s() - (clock() - began)
            if left_s <= 0:
                break
            await asyncio.sleep(min(GLANCE_S, left_s))
        if len(self._waiting) < 2:  # one caller, who waits for each of its calls: no load
            self._rush.forget()

    def _patience_s(self) -> float:
        express = any(one.express for one in self._waiting)
        return min(self._gather_s, EXPRESS_GATHER_S) if express else self._gather_s

    def _next(self) -> "list[_Waiting[Call, Result]]":
        """The longest run of waiting calls that fits; a cancelled caller's is dropped."""
        due = asyncio.get_running_loop().time() - OVERTAKEN_S
        waiting = sorted(self._waiting, key=lambda one: not one.express and one.since_s > due)
        live = deque(one for one in waiting if not one.result.done())
        most = fitting([one.size for one in live])
        group = [live.popleft() for _ in range(most)]
        self._waiting = live
        return group

    async def _settle(self, group: "Sequence[_Waiting[Call, Result]]") -> None:
        try:
            results = _each(await self._together([one.call for one in group]), len(group))
        except Exception as error:  # noqa: BLE001  every caller of the group has to learn of it
            results = [error] * len(group)
        except asyncio.CancelledError:
            for one in group:
                one.result.cancel()
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return  # only the inner call was cancelled, so others still get their turn
        for one, result in zip(group, results, strict=True):
            if one.result.done():
                continue  # its caller was cancelled; the others are not concerned
            if isinstance(result, Exception):
                one.result.set_exception(result)
                one.result.exception()  # seen: its caller may be cancelled before it wakes
            else:
                one.result.set_result(result)


def _each(results: Sequence[Result | Exception], calls: int) -> Sequence[Result | Exception]:
    """Raises RuntimeError where a call has none."""
    if len(results) != calls:
        raise RuntimeError(f"{len(results)} results of {calls} calls")
    return results


def fitting(sizes: Sequence[Size]) -> int:
    """How many of the first calls go together: those that fit, at least one."""
    rows = size = 0
    for count, one in enumerate(sizes):
        rows, size = rows + one.rows, size + one.bytes
        if count and (rows > ROWS or size > BYTES):
            return count
    return len(sizes)
