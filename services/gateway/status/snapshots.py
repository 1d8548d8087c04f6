"""Snapshots of the instance: the flow first, the ledger after it, never the other way round.

A change leaves a queue only after the ledger, or the next queue, has it. So a snapshot that reads
the queues in the order of the flow and then the ledger has every pending change at least once, and
"nothing pending" is true at its moment. `LedgerWatch` keeps a `LedgerIndex` equal to the ledger: it
folds in every change, and reads the ledger anew when it may have missed one. The records that
searches have read stay with it until they change.
"""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Set
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, Protocol

import structlog

from services.gateway.status import status
from services.gateway.status.ledger_index import LedgerIndex
from services.gateway.status.record_cache import RecordCache
from services.gateway.status.status import Board, Observation
from services.gateway.views import Freshness
from shared.domain.errors import BusUnavailable, TransientError
from shared.domain.ordering import Record
from shared.ports import Ledger, LedgerFeed

PAUSE_S: Final = 1.0
"""Interval of unprompted readings: a request has no more than this to catch up on."""
ROUNDS: Final = 3
"""So often is read on while something is written between a reading and the look at the end."""

log = structlog.get_logger(__name__)


@dataclass
class LedgerWatch:
    """Reads new records on request, and once a second in between; writes nothing.

    The first question, or the first after an error, waits until the whole ledger was read.
    """

    ledger: Ledger
    _index: LedgerIndex = field(default_factory=LedgerIndex)
    _records: RecordCache = field(default_factory=RecordCache, repr=False)
    _is_read: bool = False
    _is_current: bool = False
    _is_known: bool = False
    """Whether the last reading ended with all there is."""
    _readings: int = 0
    _feed: LedgerFeed | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    @property
    def known(self) -> LedgerIndex:
        """The index as it was last read: empty at first, and at most PAUSE_S old after that."""
        return self._index

    async def current(self) -> LedgerIndex:
        """The index as the ledger is now. It goes on changing; after a loss there is another one.

        Raises:
            BusUnavailable: the ledger does not answer.
        """
        if not await self._caught_up():
            async with self._turn:
                if self._feed is None:
                    await self._read()
        return self._index

    async def records(self, doc_keys: Collection[str]) -> Mapping[str, Record]:
        """Records of the documents that have one, as the ledger is now; for showing.

        Where the changes until now cannot be read, the ledger is asked for all of them.

        Raises:
            BusUnavailable: the ledger does not answer.
        """
        known: dict[str, Record] = {}
        if self._is_read:  # a question does not wait until the whole ledger was read
            for _ in range(ROUNDS):
                if not await self._caught_up():
                    break
                if self._is_current:
                    known = self._records.of(doc_keys)
                    break
        missing = [key for key in doc_keys if key not in known]
        found = await self.ledger.get_many(missing) if missing else {}
        for key, record in found.items():
            if self._is_read and self._index.is_at(key, record):
                self._records.keep(key, record)
        return {**known, **found}

    async def run(self) -> None:
        """Keep up until it is cancelled."""
        try:
            while True:
                try:
                    await self.current()
                except TransientError as error:
                    log.debug("ledger_watch_waits", reason=str(error))
                await asyncio.sleep(PAUSE_S)
        finally:
            if self._feed is not None:
                await self._feed.close()

    async def _caught_up(self) -> bool:
        """Whether what is known is the ledger's again, without reading all of it.

        All who ask while another reads share the next reading: one by one, twenty searches a second
        would wait for each other as soon as an answer of the bus takes 50 ms.
        """
        asked = self._readings
        async with self._turn:
            if self._readings == asked:
                self._readings, self._is_known = self._readings + 1, False
                self._is_known = await self._read_on()
            return self._is_known

    async def _read_on(self) -> bool:
        if self._feed is not None:
            with contextlib.suppress(TransientError):
                if await self._read():
                    return True
        self._feed, self._is_read = None, False
        return False

    async def _read(self) -> bool:
        """Take all new records; whether none is missing. After an error the feed is None."""
        feed, self._feed = self._feed, None
        if feed is None:
            feed, self._index, self._records = (
                await self.ledger.follow(),
                LedgerIndex(),
                RecordCache(),
            )
        while page := await feed.more():
            for change in page:
                self._index.put(*change)
                self._records.put(*change)
        seen = await feed.state(len(self._index))
        self._is_read, self._is_current = seen
        self._feed = feed
        return seen.is_whole


Observe = Callable[[], Awaitable[Observation]]
"""Reads the stages one after another in the order of the flow, not all at once."""

SHORTEST_S: Final = 0.5
"""How long requests share a snapshot. Counting 200,000 documents (`LedgerIndex.board`) takes 23 ms
of the event loop in the hour after they settled, 7 ms later (median of 30)."""
PATIENCE_S: Final = 0.02
"""How long a search waits for a new snapshot while there is a recent one."""
RECENT_S: Final = 30.0
GLANCE_S: Final = 0.1
"""How long searches share one reading of the queues. Without, a status at rest takes 8.0 ms instead
of 2.1 and 10.0 ms of processor instead of 4.6 (p50 of 360 requests, 15 ms apart, in turns)."""


@dataclass(frozen=True, slots=True)
class InstanceSnapshot:
    """The flow, and what the ledger said after it."""

    seen: Observation
    index: LedgerIndex
    """The current one, which goes on changing."""
    board: Board
    ended: float
    """Monotonic time."""
    parts: "dict[Set[str], InstanceSnapshot]" = field(default_factory=dict, repr=False)
    """What keys of some sources see of it; as counting, it is done once for a snapshot."""


class Snapshots(Protocol):
    """Views of the instance."""

    @property
    def watch(self) -> LedgerWatch:
        """Keeps the index of the ledger up to date."""
        ...

    async def latest(self) -> InstanceSnapshot:
        """One of this moment."""
        ...

    async def freshness(self) -> Freshness:
        """How far answers from now on may be behind."""
        ...

    def forget(self) -> None:
        """A command has changed the instance."""
        ...


@dataclass
class InstanceSnapshots:
    """Takes snapshots, and keeps the last one for a moment.

    The first one, and one after an outage, reads the whole ledger.
    """

    observe: Observe
    ledger: Ledger
    watch: LedgerWatch = field(init=False)
    _last: InstanceSnapshot | None = None
    _taking: asyncio.Task[InstanceSnapshot] | None = field(default=None, repr=False)
    _glance: asyncio.Task[Observation] | None = field(default=None, repr=False)
    _glanced_at: float = 0.0
    _seen: tuple[float, Observation] | None = field(default=None, repr=False)
    """The glance that began last of those that have ended, and when it began."""
    _forgotten_at: float = -math.inf

    def __post_init__(self) -> None:
        self.watch = LedgerWatch(self.ledger)

    async def latest(self) -> InstanceSnapshot:
        """A snapshot that is at most SHORTEST_S old.

        A snapshot at rest is not given out when work has come since, nor any snapshot when a hold
        has changed since.
        """
        last = self._last
        if last and monotonic() < last.ended + SHORTEST_S and not await self._overtaken(last):
            return last
        return await self.fresh()

    async def fresh(self) -> InstanceSnapshot:
        """A snapshot that is being taken, or begins now."""
        return await asyncio.shield(self._refresh())

    def forget(self) -> None:
        """A command has changed the instance: the next answer needs a new snapshot."""
        self._last = self._taking = self._glance = self._seen = None
        self._forgotten_at = monotonic()

    async def _overtaken(self, last: InstanceSnapshot) -> bool:
        then = last.seen
        try:
            seen = await self._glanced()
        except BusUnavailable:  # the last snapshot is the best answer
            return False
        return seen.held != then.held or (status.busy(seen) and not status.busy(then))

    async def freshness(self) -> Freshness:
        """How far answers from now on may be behind; cheap while nothing is in flight.

        What is at most SHORTEST_S old serves while it is looked at anew: it is true of the moment
        that it names.
        """
        glance = self._looking()
        if self._seen and monotonic() < self._seen[0] + SHORTEST_S:
            seen = self._seen[1]
        else:
            seen = await asyncio.shield(glance)
        if not status.busy(seen):
            return status.freshness(status.EMPTY, seen)
        latest = await self._soon()
        return status.freshness(latest.board, latest.seen)

    async def _glanced(self) -> Observation:
        return await asyncio.shield(self._looking())

    def _looking(self) -> asyncio.Task[Observation]:
        if self._glance is None or monotonic() > self._glanced_at + GLANCE_S:
            self._glanced_at = monotonic()
            self._glance = asyncio.create_task(self._observed(self._glanced_at), name="glance")
            self._glance.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._glance

    async def _observed(self, began: float) -> Observation:
        seen = await self.observe()
        is_newer = self._seen is None or began >= self._seen[0]
        if is_newer and began > self._forgotten_at:
            self._seen = began, seen
        return seen

    async def _soon(self) -> InstanceSnapshot:
        """The latest snapshot, or one some seconds old when a new one takes long."""
        last = self._last
        if last is None or monotonic() > last.ended + RECENT_S:
            return await self.latest()
        if status.busy(last.seen) and monotonic() < last.ended + SHORTEST_S:
            return last
        try:
            return await asyncio.wait_for(self.latest(), PATIENCE_S)
        except TimeoutError:
            return last

    def _refresh(self) -> asyncio.Task[InstanceSnapshot]:
        if self._taking is None or self._taking.done():
            self._taking = asyncio.create_task(self._take(), name="instance snapshot")
        return self._taking

    async def _take(self) -> InstanceSnapshot:
        seen = await self.observe()
        index = await self.watch.current()
        board = index.board(seen.at)
        self._last = InstanceSnapshot(seen, index, board, monotonic())
        return self._last
