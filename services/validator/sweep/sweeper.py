"""Schedules sweeps, one at a time, and notes their results and the filled store."""

import asyncio
import contextlib
import json
import math
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from services.validator.sweep.sweep import BATCH, Sweep
from services.validator.sweep.swept import Swept
from shared.domain.errors import (
    GARBAGE,
    ConfigurationError,
    InstepError,
    StoreUnavailable,
    TransientError,
)
from shared.ports import Audit, Auditor, Now, Shelf, VectorStore

PREFIX: Final = "index."
SWEPT: Final = "sweep."
"""Prefix of the names of the notes about sweeps."""


@dataclass(frozen=True, slots=True)
class Filled:
    """The note of the filled incarnation of the index, so that a new one is filled at once.

    The note outlives processes, so any process may make the index anew, at any time.
    """

    store: VectorStore
    shelf: Shelf
    generation: str

    async def now(self) -> str | None:
        """The present incarnation of the index; None: unknown."""
        try:
            return await self.store.incarnation()
        except StoreUnavailable:
            return None

    async def is_another(self, incarnation: str | None) -> bool:
        """Whether it differs from the filled one. Raises BusUnavailable."""
        if incarnation is None:
            return False
        noted = await self.shelf.get(PREFIX + self.generation)
        if noted is None:
            if await self.shelf.keys(SWEPT):  # filled by a version without this note, or long ago
                return True
            await self.note(incarnation)  # a new installation: the first sweep comes by itself
            return False
        return noted != incarnation.encode()

    async def note(self, incarnation: str | None) -> None:
        """Note that it is filled. Raises BusUnavailable."""
        if incarnation is not None:
            await self.shelf.put(PREFIX + self.generation, incarnation.encode())


log = structlog.get_logger()

KEPT: Final = 100
FIRST_S: Final = 60.0
"""A starting process sweeps no earlier: the pipeline has other things to do."""
WATCH_S: Final = 5.0
"""How soon the deletion of a stream or bucket is noticed."""
BUSY_S: Final = 10.0
BUSY_MESSAGES: Final = 256
"""While more wait on the bus, a sweep by the clock waits, for at most one interval."""

LONGEST_REST_S: Final = 60.0
"""Longest pause between a failed sweep and the next try."""

Restore = Callable[[], Awaitable[bool]]
"""Makes missing streams and buckets anew. Returns whether one was missing.

Raises ConfigurationError when one is, and this process may not make it.
"""


@dataclass(frozen=True, slots=True)
class Round:
    """One sweep with all its sides: the sources' files, then DOCS, ledger and store."""

    at: datetime
    swept: Swept
    audits: Sequence[Audit] = ()

    @property
    def needs_you(self) -> bool:
        return self.swept.needs_you or any(audit.error or audit.held for audit in self.audits)

    def note(self) -> dict[str, Any]:
        """As JSON; it has only the number of resubmitted documents."""
        swept = asdict(self.swept) | {"resubmitted": len(self.swept.resubmitted)}
        audits = [asdict(audit) for audit in self.audits]
        return swept | {"at": self.at.isoformat(), "audits": audits}


def read_note(value: bytes) -> Mapping[str, Any] | None:
    """A stored note about a sweep; None if it is unreadable. Pure."""
    try:
        note: Mapping[str, Any] = json.loads(value)
        return note if datetime.fromisoformat(note["at"]).tzinfo else None
    except GARBAGE:
        return None


def rest_s(failed: int) -> float:
    """Seconds until the next try, after so many sweeps in a row have failed. Pure."""
    return min(LONGEST_REST_S, WATCH_S * 2.0 ** min(failed - 1, 16))


async def always() -> bool:
    return True


@dataclass
class Sweeper:
    """Runs sweeps. `run` until cancelled.

    every_s: interval of sweeps by the clock; 0: none.
    auditor: audits the sources; None: no process watches.
    settled_in: whether the folders have been listed; sweeps by the clock wait for it.
    """

    sweep: Sweep
    shelf: Shelf
    now: Now
    every_s: float
    restore: Restore
    backlog: Callable[[], Awaitable[int]]
    consumed: Callable[[], Awaitable[bool]]
    """Whether the services consume; else a sweep does not wait for its repairs."""
    auditor: Auditor | None = None
    settled_in: Callable[[], Awaitable[bool]] = always
    filled: Filled | None = None
    """None: the loss of the index goes unnoticed."""
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)
    _asked: asyncio.Event = field(default_factory=asyncio.Event)
    _owed: bool = False
    """A sweep is due: requested, or needed since streams or index were made anew."""
    _task: "tuple[str, asyncio.Task[None]] | None" = None
    _last: Mapping[str, Any] | None = None
    _read_at: float = 0.0

    async def __call__(
        self, *, dry_run: bool = False, force: bool = False, batch_size: int = BATCH
    ) -> Round:
        """Sweep now, or after the sweep that runs.

        Raises:
            BusUnavailable, StoreUnavailable: start again.
        """
        async with self._one:
            if dry_run:
                return await self._round(dry_run=True, force=force, batch_size=batch_size)
            index = await self._make_anew()
            owed, self._owed = self._owed, False  # a later request is for another one
            try:
                done = await self._round(dry_run=False, force=force, batch_size=batch_size)
                await self._keep(done)
                if self.filled and not done.swept.unsent:
                    await self.filled.note(index)
            except BaseException:
                self._owed |= owed
                raise
            return done

    async def _round(self, *, dry_run: bool, force: bool, batch_size: int) -> Round:
        at = self.now()
        audits = await self.auditor(dry_run=dry_run) if self.auditor else ()
        size = batch_size if await self.consumed() else 0
        swept = await self.sweep(dry_run=dry_run, force=force, batch_size=size)
        return Round(at, swept, audits)

    def start(self, *, batch_size: int) -> str:
        """Sweep in the background. Returns the name of the task, or of the running one."""
        if self._task is None or self._task[1].done():
            name = secrets.token_hex(8)
            task = asyncio.create_task(self._in_background(batch_size), name=f"sweep {name}")
            self._task = name, task
        return self._task[0]

    def ask(self) -> None:
        """Let `run` sweep now."""
        self._asked.set()

    async def run(self) -> None:
        """Sweep by the clock and on request; make deleted streams and buckets anew."""
        clock = asyncio.get_running_loop().time
        due, rests_until, failed = clock() + await self._due_in_s(), -math.inf, 0
        while True:
            await self._watch()
            try:
                await self._make_anew()
                if clock() < rests_until or not await self._is_wanted(due):
                    continue
            except InstepError as error:
                log.warning("bus_not_watched", reason=str(error))
                continue
            try:
                done = await self()
            except InstepError as error:
                log.warning("not_swept", reason=str(error))
            else:
                due = clock() + (self.every_s or math.inf)
                if not done.swept.unsent:
                    failed = 0
                    continue
            failed += 1
            rests_until = clock() + rest_s(failed)

    async def if_due(self) -> Round | None:
        """Sweep if none was noted for `every_s`. Raises as a sweep does."""
        due = self.every_s and await self._since_last_s() >= self.every_s
        return await self() if due else None

    async def last(self) -> Mapping[str, Any] | None:
        """The note about the newest sweep, of any process. Raises BusUnavailable."""
        time = asyncio.get_running_loop().time()
        if self._last is None or time - self._read_at > FIRST_S:
            self._last, self._read_at = await self._newest_note(), time
        return self._last

    async def _newest_note(self) -> Mapping[str, Any] | None:
        for name in reversed(await self._names()):
            value = await self.shelf.get(name)
            if note := read_note(value or b""):
                return note
        return None

    async def history(self) -> list[Mapping[str, Any]]:
        """The notes, newest first. Raises BusUnavailable."""
        names = (await self._names())[: -KEPT - 1 : -1]
        values = await self.shelf.get_many(names)
        notes = (read_note(values[name]) for name in names if name in values)
        return [note for note in notes if note]

    async def _in_background(self, batch_size: int) -> None:
        try:
            await self(batch_size=batch_size)
        except InstepError as error:
            log.warning("not_swept", reason=str(error))

    async def _watch(self) -> None:
        """Wait until the next look at the bus is due, or a sweep is requested."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WATCH_S):
                await self._asked.wait()
        if self._asked.is_set():
            self._asked.clear()
            self._owed = True

    async def _make_anew(self) -> str | None:
        """Make missing streams and buckets anew. A sweep is owed after any loss.

        Returns:
            The present incarnation of the index; None: unknown.
        """
        try:
            restored = await self.restore()
        except ConfigurationError:  # the admin's repair goes unnoticed here
            self._owed = True
            raise
        if restored:
            log.warning("bus_restored")
            self._owed = True
        index = await self.filled.now() if self.filled else None
        if self.filled and not self._owed and await self.filled.is_another(index):
            log.warning("index_is_another", incarnation=index)
            self._owed = True
        return index

    async def _is_wanted(self, due: float) -> bool:
        if self._owed:
            return True
        return asyncio.get_running_loop().time() >= due and await self._is_calm(due)

    async def _is_calm(self, due: float) -> bool:
        late_s = asyncio.get_running_loop().time() - due
        if not await self.settled_in():
            return False
        return late_s > self.every_s or await self.backlog() <= BUSY_MESSAGES

    async def _due_in_s(self) -> float:
        if not self.every_s:
            return math.inf
        try:
            return max(FIRST_S, self.every_s - await self._since_last_s())
        except TransientError:
            return FIRST_S

    async def _since_last_s(self) -> float:
        last = await self.last()
        if last is None:
            return math.inf
        since_s = (self.now() - datetime.fromisoformat(last["at"])).total_seconds()
        # a future time: the clock has jumped, or the note is wrong
        return since_s if since_s >= 0 else math.inf

    async def _keep(self, done: Round) -> None:
        note = done.note()
        ms = int(done.at.astimezone(UTC).timestamp() * 1000)
        name = f"{SWEPT}{self.sweep.generation}.{ms:013d}"
        await self.shelf.put(name, json.dumps(note).encode())
        self._last, self._read_at = note, asyncio.get_running_loop().time()
        for old in (await self._names())[:-KEPT]:
            await self.shelf.delete(old)

    async def _names(self) -> list[str]:
        """Keys of the notes about sweeps of this generation, oldest first.

        `sweep.<generation>.<ms>`; version 0.1.0 wrote `sweep.<ms>`.
        """
        mine = f"{SWEPT}{self.sweep.generation}."
        names = await self.shelf.keys(SWEPT)
        own = [name for name in names if name.startswith(mine) or name.count(".") == 1]
        return sorted(own, key=lambda name: name.rpartition(".")[2])
