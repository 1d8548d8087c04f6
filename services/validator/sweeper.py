"""When the sweep runs, one at a time, and the notes about it."""

import asyncio
import contextlib
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from services.validator.sweep import BATCH, Sweep
from services.validator.swept import Swept
from shared.errors import InstepError, TransientError
from shared.ports import Audit, Auditor, Now, Shelf

log = structlog.get_logger()

PREFIX: Final = "sweep."
KEPT: Final = 100
FIRST_S: Final = 60.0
"""A process that starts does not sweep at once: the pipeline has other things to do."""
WATCH_S: Final = 5.0
"""How soon a stream or bucket that somebody deleted is noticed."""
BUSY_S: Final = 10.0
BUSY_MESSAGES: Final = 256
"""While more wait on the road, a sweep by the clock waits, for as long as one interval."""

Restore = Callable[[], Awaitable[bool]]
"""Make anew what is missing on the bus; whether something was."""


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
        """As JSON; which documents were sent again is too much to keep."""
        swept = asdict(self.swept) | {"resubmitted": len(self.swept.resubmitted)}
        audits = [asdict(audit) for audit in self.audits]
        return swept | {"at": self.at.isoformat(), "audits": audits}


@dataclass
class Sweeper:
    """Runs sweeps. `run` until cancelled.

    every_s: 0: never by itself.
    auditor: asked at each sweep, for the producer may be built later; None: no folder here.
    settled_in: whether the process is past its start, so that a sweep by the clock makes sense.
    """

    sweep: Sweep
    shelf: Shelf
    now: Now
    every_s: float
    restore: Restore
    backlog: Callable[[], Awaitable[int]]
    consumed: Callable[[], Awaitable[bool]]
    """Whether anybody works; else repairs are left for later, not waited for."""
    auditor: Callable[[], Auditor | None] = lambda: None
    settled_in: Callable[[], bool] = lambda: True
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)
    _asked: asyncio.Event = field(default_factory=asyncio.Event)
    _task: "tuple[str, asyncio.Task[None]] | None" = None
    _last: Mapping[str, Any] | None = None
    _read_at: float = 0.0

    async def __call__(
        self, *, dry_run: bool = False, force: bool = False, batch_size: int = BATCH
    ) -> Round:
        """Sweep now, after the sweep that runs, if one does.

        Raises:
            BusUnavailable, StoreUnavailable: start again.
        """
        async with self._one:
            at, auditor = self.now(), self.auditor()
            if not dry_run:
                await self.restore()
            audits = await auditor(dry_run=dry_run) if auditor else ()
            size = batch_size if await self.consumed() else 0
            swept = await self.sweep(dry_run=dry_run, force=force, batch_size=size)
            done = Round(at, swept, audits)
            if not dry_run:
                await self._keep(done)
            return done

    def start(self, *, batch_size: int) -> str:
        """Sweep in the background; the name of the task, or of the one that runs already."""
        if self._task is None or self._task[1].done():
            name = secrets.token_hex(8)
            task = asyncio.create_task(self._in_background(batch_size), name=f"sweep {name}")
            self._task = name, task
        return self._task[0]

    def ask(self) -> None:
        """Let `run` sweep now."""
        self._asked.set()

    async def run(self) -> None:
        """Sweep every so often and whenever asked; make anew what somebody deleted on the bus."""
        loop = asyncio.get_running_loop()
        due = loop.time() + await self._due_in_s()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_S):
                    await self._asked.wait()
            asked = self._asked.is_set()
            try:
                if await self.restore():
                    log.warning("bus_restored")
                    asked = True
                if not asked and (loop.time() < due or not await self._is_calm(due)):
                    continue
                self._asked.clear()
                await self()
            except InstepError as error:
                log.warning("not_swept", reason=str(error))
            due = loop.time() + (self.every_s or float("inf"))

    async def if_due(self) -> Round | None:
        """Sweep if none was noted for `every_s`. Raises as a sweep does."""
        due = self.every_s and await self._since_last_s() >= self.every_s
        return await self() if due else None

    async def last(self) -> Mapping[str, Any] | None:
        """The note about the newest sweep, of any process. Raises BusUnavailable."""
        time = asyncio.get_running_loop().time()
        if self._last is None or time - self._read_at > FIRST_S:
            names = await self.shelf.keys(PREFIX)
            value = await self.shelf.get(max(names)) if names else None
            self._last, self._read_at = (json.loads(value) if value else None), time
        return self._last

    async def history(self) -> list[Mapping[str, Any]]:
        """The notes, newest first. Raises BusUnavailable."""
        names = sorted(await self.shelf.keys(PREFIX), reverse=True)[:KEPT]
        values = await self.shelf.get_many(names)
        return [json.loads(values[name]) for name in names if name in values]

    async def _in_background(self, batch_size: int) -> None:
        try:
            await self(batch_size=batch_size)
        except InstepError as error:
            log.warning("not_swept", reason=str(error))

    async def _is_calm(self, due: float) -> bool:
        late_s = asyncio.get_running_loop().time() - due
        if not self.settled_in():
            return False
        return late_s > self.every_s or await self.backlog() <= BUSY_MESSAGES

    async def _due_in_s(self) -> float:
        if not self.every_s:
            return float("inf")
        try:
            return max(FIRST_S, self.every_s - await self._since_last_s())
        except TransientError:
            return FIRST_S

    async def _since_last_s(self) -> float:
        last = await self.last()
        if last is None:
            return float("inf")
        return (self.now() - datetime.fromisoformat(last["at"])).total_seconds()

    async def _keep(self, done: Round) -> None:
        note = done.note()
        name = f"{PREFIX}{int(done.at.astimezone(UTC).timestamp() * 1000):013d}"
        await self.shelf.put(name, json.dumps(note).encode())
        self._last, self._read_at = note, asyncio.get_running_loop().time()
        for old in sorted(await self.shelf.keys(PREFIX))[:-KEPT]:
            await self.shelf.delete(old)
