"""The tracking of open batches, until each is complete or given up.

A batch is complete when, by the ledger, the revision of every member, or a newer one, has settled
or failed. Events only say where to look; no count rests on them, so lost, doubled and coalesced
ones change nothing, and a restart reads the open batches from their book.
"""

import asyncio
import contextlib
import math
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice, zip_longest
from typing import Final

import structlog

from services.validator.batches.complete import CHECK_AT_ONCE, Complete
from services.validator.batches.outcomes import MemberOutcome, Rest, is_given_up, outcome_of
from services.validator.batches.report import Judged
from services.validator.checks import Verdict
from shared.batches.members import DECLINED, BatchBook, OpenBatch
from shared.batches.reports import BatchReport
from shared.domain.errors import TransientError
from shared.domain.ids import batch_key
from shared.domain.ordering import Record
from shared.ports import Ledger

log = structlog.get_logger()

POLL_S: Final = 0.5
"""How often the tracker asks the ledger about members: some events go to another validator, or get
lost."""
POLL_MOST_S: Final = 5.0
"""The same while the ledger has no news."""
POLL_FEW: Final = 64
"""Members of a first question, which shows whether more are worth while."""
RELOAD_S: Final = 5.0
"""Batches that another process announced are seen within this time."""
CLOSED_AT_ONCE: Final = 8
REMEMBERED: Final = 100_000
"""Documents whose end is remembered, because it may come before their batch is announced."""
REPORTS_REMEMBERED: Final = 100


@dataclass(frozen=True, slots=True)
class Poll:
    """The next question to the ledger: about how many members, so many seconds after the last."""

    members: int
    after_s: float


def next_poll(last: Poll, asked: int, ended: int) -> Poll:
    """The poll after one that found so many of its members ended. Pure.

    Where events bring almost every end, as with one validator, polls cost next to nothing; the ends
    that another one heard of are found in long strides.
    """
    if 2 * ended >= asked:
        return Poll(CHECK_AT_ONCE, 0.0)
    if ended:
        return Poll(POLL_FEW, POLL_S)
    return Poll(POLL_FEW, min(max(2 * last.after_s, POLL_S), POLL_MOST_S))


def one_of_each(batches: Iterable[Iterable[str]], most: int) -> set[str]:
    """The first of every batch, then the second of each and so on, until there are `most`. Pure.

    Thousands that wait in one batch must not hide the only one of another.
    """
    turns = zip_longest(*batches)
    return set(islice((one for turn in turns for one in turn if one is not None), most))


@dataclass(slots=True)
class _Tracked:
    """An open batch, as far as its members have ended."""

    open: OpenBatch
    outcomes: dict[str, MemberOutcome] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
    moved_at: float = field(default_factory=time.monotonic)
    """When anything of it was last noted, or ended."""
    settled_at: float = 0.0
    """Unix time of the last end of a document."""

    @property
    def ended(self) -> bool:
        return self.open.whole and not self.waiting


@dataclass
class Tracker:
    """Watches the open batches. `run` until cancelled.

    timeout_s: a batch without progress for so long is closed as incomplete.
    """

    book: BatchBook
    ledger: Ledger
    complete: Complete
    timeout_s: float = 3600.0

    def __post_init__(self) -> None:
        self._tracked: dict[str, _Tracked] = {}  # by batch key, as everything here
        self._by_document: dict[str, set[str]] = {}
        self._seen: OrderedDict[str, tuple[Record, Verdict | None]] = OrderedDict()
        self._done: OrderedDict[str, BatchReport] = OrderedDict()
        self._changed = asyncio.Condition()
        self._wake = asyncio.Event()
        self._stale, self._loading = True, False
        self._loaded_at = self._polled_at = self._sampled_at = -math.inf
        self._poll = Poll(POLL_FEW, POLL_S)
        self._moved_at = time.monotonic()
        self.book.listeners.append(self._book_changed)

    # -- for others --------------------------------------------------------------------------------

    def observe(self, records: Mapping[str, Record], verdicts: Mapping[str, Verdict]) -> None:
        """Note the newest records and verdicts of some documents."""
        for doc_key, record in records.items():
            self._seen.pop(doc_key, None)
            self._seen[doc_key] = record, verdicts.get(doc_key)
            self._end(doc_key)
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        self._poll = replace(self._poll, after_s=min(self._poll.after_s, POLL_S))

    def open_count(self) -> int:
        """Batches that are whole and wait for outcomes, with those just announced here."""
        unread = int(self._stale or self._loading)
        return unread + sum(t.open.whole for t in self._tracked.values())

    async def wait_complete(self, source: str, batch_id: str) -> BatchReport:
        """Its report, once there is one. Raises BusUnavailable."""
        if known := await self.complete.history.reports(batch_id, source):
            return known[source]
        key = batch_key(self.book.generation, source, batch_id)
        async with self._changed:
            await self._changed.wait_for(lambda: key in self._done)
        return self._done[key]

    async def run(self) -> None:
        """Raises only for bugs."""
        while not _is_cancelled():
            self._wake.clear()
            try:
                await self._turn()
            except TransientError as error:
                log.warning("batches_not_tracked", reason=str(error))
                await asyncio.sleep(POLL_S)
            if _is_cancelled():
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s()):
                    await self._wake.wait()

    # -- the loop ----------------------------------------------------------------------------------

    def _book_changed(self) -> None:
        self._stale = True
        self._wake.set()

    def _load_at(self) -> float:
        return self._loaded_at + (0.0 if self._stale else RELOAD_S)

    def _pause_s(self) -> float:
        now = time.monotonic()
        until = self._load_at()
        if any(t.waiting for t in self._tracked.values()):
            until = min(until, self._polled_at + self._poll.after_s)
        return max(0.01, until - now)

    async def _turn(self) -> None:
        now = time.monotonic()
        if now >= self._load_at():
            await self._load()
        if now >= self._polled_at + self._poll.after_s:
            await self._ask()
        over = [b for b, t in self._tracked.items() if t.ended or self._given_up(t)]
        failed: list[BaseException | None] = []
        for at in range(0, len(over), CLOSED_AT_ONCE):
            some = over[at : at + CLOSED_AT_ONCE]
            failed += await asyncio.gather(*map(self._close, some), return_exceptions=True)
        for error in filter(None, failed):
            raise error

    def _given_up(self, tracked: _Tracked) -> bool:
        now, wall = time.monotonic(), self.complete.now().timestamp()
        rest = Rest(
            noted_s=wall - max(tracked.open.noted_at, tracked.settled_at),
            watched_s=now - tracked.moved_at,
            anywhere_s=now - self._moved_at,
            waiting=bool(tracked.waiting),
            accepted=bool(tracked.waiting or tracked.outcomes or tracked.open.unchanged),
        )
        return is_given_up(rest, self.timeout_s)

    async def _load(self) -> None:
        """Read the open batches; keep the outcomes of known ones."""
        self._stale, self._loading = False, True
        try:
            found = await self.book.open()
        except TransientError:
            self._stale = True
            raise
        finally:
            self._loading = False
        self._loaded_at = time.monotonic()
        for key in self._tracked.keys() - found.keys():
            self._forget(key)
        for key, batch in found.items():
            tracked = self._tracked.setdefault(key, _Tracked(batch))
            if batch.members != tracked.open.members:
                tracked.moved_at = time.monotonic()
            tracked.open = batch
            for doc_key, seq in batch.members.items():
                if doc_key.startswith(DECLINED):
                    continue
                ended = tracked.outcomes.get(doc_key)
                if ended is None or ended.seq < seq:
                    tracked.waiting[doc_key] = seq
                    self._by_document.setdefault(doc_key, set()).add(key)
                    self._end(doc_key)

    async def _ask(self) -> None:
        """Ask the ledger about some members without an event."""
        asked = one_of_each((t.waiting for t in self._tracked.values()), self._poll.members)
        if not asked:
            return
        records = await self.ledger.get_many(asked)
        before = sum(len(t.waiting) for t in self._tracked.values())
        for doc_key, record in records.items():
            verdict = self._seen.get(doc_key, (None, None))[1]
            self._seen[doc_key] = record, verdict
            self._end(doc_key)
        for key, tracked in list(self._tracked.items()):  # members that still wait go to the end
            still = asked & tracked.waiting.keys()
            for doc_key in still:
                tracked.waiting[doc_key] = tracked.waiting.pop(doc_key)
            if still:
                self._tracked[key] = self._tracked.pop(key)
        self._polled_at = time.monotonic()
        moved = before - sum(len(t.waiting) for t in self._tracked.values())
        self._poll = next_poll(self._poll, len(asked), moved)

    def _end(self, doc_key: str) -> None:
        """Note the outcome of a document in the batches that wait for it."""
        record, verdict = self._seen.get(doc_key, (None, None))
        for key in list(self._by_document.get(doc_key, ())):
            tracked = self._tracked[key]
            ended = outcome_of(record, tracked.waiting[doc_key])
            if ended is None:
                continue
            tracked.outcomes[doc_key] = ended
            tracked.moved_at = self._moved_at = time.monotonic()
            tracked.settled_at = max(tracked.settled_at, ended.settled_at)
            if verdict is not None:
                tracked.verdicts[doc_key] = verdict
            del tracked.waiting[doc_key]
            self._by_document[doc_key].discard(key)
            if tracked.ended:
                self._wake.set()
        if not self._by_document.get(doc_key, True):
            del self._by_document[doc_key]

    def _forget(self, key: str) -> None:
        for doc_key in self._tracked.pop(key).waiting:
            self._by_document.get(doc_key, set()).discard(key)

    async def _close(self, key: str) -> None:
        tracked = self._tracked[key]
        judged = Judged(tracked.open, tracked.outcomes, tracked.waiting, tracked.verdicts)
        report = await self.complete(judged)
        self._forget(key)
        await self._tell(key, report)

    async def _tell(self, key: str, report: BatchReport) -> None:
        async with self._changed:
            self._done[key] = report
            if len(self._done) > REPORTS_REMEMBERED:
                self._done.popitem(last=False)
            self._changed.notify_all()


def _is_cancelled() -> bool:
    """Whether this task was cancelled. Before Python 3.12 `asyncio.wait_for`, which the client of
    the bus uses, may swallow that and return."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
