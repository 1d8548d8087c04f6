"""When a batch is complete, and its report.

A batch is complete when the ledger says of every member that its revision, or a newer one, has
settled or failed. Events only say where to look; nothing is counted by them, so lost, doubled and
coalesced ones change nothing, and a restart reads the open batches from their book.
"""

import asyncio
import contextlib
import math
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import structlog

from services.validator.checks import (
    BatchReport,
    MemberOutcome,
    SampleResult,
    Verdict,
    freshness,
    outcome_of,
    summarise,
    tally,
)
from services.validator.observe import AskSamples, Observe
from shared.batches import DECLINED, BatchBook, OpenBatch
from shared.errors import TransientError
from shared.events import BatchCompleted
from shared.ordering import Record
from shared.ports import Ledger, Now, Publish

log = structlog.get_logger()

POLL_S: Final = 0.5
"""How long the ledger is left alone when no event says where to look."""
POLL_MOST_S: Final = 5.0
RELOAD_S: Final = 5.0
"""Batches that another process announced are seen within this time."""
REMEMBERED: Final = 100_000
"""Documents whose end is remembered, because it may come before their batch is announced."""
CHECK_AT_ONCE: Final = 500
SAMPLES_EVERY_S: Final = 30.0
MEMBERS_KEPT: Final = 5_000
RECHECKS: Final = 3
RECHECK_S: Final = 0.3


@dataclass(slots=True)
class _Tracked:
    """An open batch, as far as its members have ended."""

    open: OpenBatch
    outcomes: dict[str, MemberOutcome] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.open.whole and not self.waiting


@dataclass
class Tracker:
    """Watches the open batches. `run` until cancelled."""

    generation: str
    book: BatchBook
    ledger: Ledger
    check: Observe
    publish: Publish
    now: Now
    samples: AskSamples | None = None

    def __post_init__(self) -> None:
        self._tracked: dict[str, _Tracked] = {}
        self._by_document: dict[str, set[str]] = {}
        self._seen: OrderedDict[str, tuple[Record, Verdict | None]] = OrderedDict()
        self._done: OrderedDict[str, Mapping[str, Any]] = OrderedDict()
        self._changed = asyncio.Condition()
        self._wake = asyncio.Event()
        self._stale, self._loading = True, False
        self._loaded_at = self._polled_at = self._sampled_at = -math.inf
        self._poll_s = POLL_S
        self.book.listeners.append(self._book_changed)

    # -- for others --------------------------------------------------------------------------------

    def observe(self, records: Mapping[str, Record], verdicts: Mapping[str, Verdict]) -> None:
        """What ledger and store said about some documents just now."""
        for doc_key, record in records.items():
            self._seen.pop(doc_key, None)
            self._seen[doc_key] = record, verdicts.get(doc_key)
            self._end(doc_key)
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        self._polled_at, self._poll_s = time.monotonic(), POLL_S

    def open_count(self) -> int:
        """Batches that are whole and wait for outcomes, with those just announced here."""
        unread = int(self._stale or self._loading)
        return unread + sum(t.open.whole for t in self._tracked.values())

    async def wait_complete(self, batch_id: str) -> Mapping[str, Any]:
        """Its report, once it is complete. Raises BusUnavailable."""
        if (known := await self.book.report(batch_id)) is not None:
            return known
        async with self._changed:
            await self._changed.wait_for(lambda: batch_id in self._done)
        return self._done[batch_id]

    async def run(self) -> None:
        """Raises only what is a bug."""
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

    def _pause_s(self) -> float:
        now = time.monotonic()
        until = self._loaded_at + RELOAD_S
        if any(t.waiting for t in self._tracked.values()):
            until = min(until, self._polled_at + self._poll_s)
        return max(0.01, until - now)

    async def _turn(self) -> None:
        now = time.monotonic()
        if self._stale or now >= self._loaded_at + RELOAD_S:
            await self._load()
        if now >= self._polled_at + self._poll_s:
            await self._poll()
        for batch_id in [b for b, t in self._tracked.items() if t.ended]:
            await self._complete(batch_id)

    async def _load(self) -> None:
        """Read the open batches; keep what is known about those that are known."""
        self._stale, self._loading = False, True
        try:
            found = await self.book.open()
        except TransientError:
            self._stale = True
            raise
        finally:
            self._loading = False
        self._loaded_at = time.monotonic()
        for batch_id in self._tracked.keys() - found.keys():
            self._forget(batch_id)
        for batch_id, batch in found.items():
            tracked = self._tracked.setdefault(batch_id, _Tracked(batch))
            tracked.open = batch
            for doc_key, seq in batch.members.items():
                if doc_key.startswith(DECLINED):
                    continue
                ended = tracked.outcomes.get(doc_key)
                if ended is None or ended.seq < seq:
                    tracked.waiting[doc_key] = seq
                    self._by_document.setdefault(doc_key, set()).add(batch_id)
                    self._end(doc_key)

    async def _poll(self) -> None:
        """Ask the ledger about some members that no event has told of."""
        waiting = dict(
            islice((i for t in self._tracked.values() for i in t.waiting.items()), CHECK_AT_ONCE)
        )
        if not waiting:
            return
        records = await self.ledger.get_many(waiting)
        before = sum(len(t.waiting) for t in self._tracked.values())
        for doc_key, record in records.items():
            verdict = self._seen.get(doc_key, (None, None))[1]
            self._seen[doc_key] = record, verdict
            self._end(doc_key)
        for tracked in self._tracked.values():  # those that still wait go to the end
            for doc_key in waiting.keys() & tracked.waiting.keys():
                tracked.waiting[doc_key] = tracked.waiting.pop(doc_key)
        self._polled_at = time.monotonic()
        moved = sum(len(t.waiting) for t in self._tracked.values()) < before
        self._poll_s = POLL_S if moved else min(2 * self._poll_s, POLL_MOST_S)

    def _end(self, doc_key: str) -> None:
        """Note the outcome of a document in the batches that wait for it."""
        record, verdict = self._seen.get(doc_key, (None, None))
        for batch_id in list(self._by_document.get(doc_key, ())):
            tracked = self._tracked[batch_id]
            ended = outcome_of(record, tracked.waiting[doc_key])
            if ended is None:
                continue
            tracked.outcomes[doc_key] = ended
            if verdict is not None:
                tracked.verdicts[doc_key] = verdict
            del tracked.waiting[doc_key]
            self._by_document[doc_key].discard(batch_id)
            if tracked.ended:
                self._wake.set()
        if not self._by_document.get(doc_key, True):
            del self._by_document[doc_key]

    def _forget(self, batch_id: str) -> None:
        for doc_key in self._tracked.pop(batch_id).waiting:
            self._by_document.get(doc_key, set()).discard(batch_id)

    async def _complete(self, batch_id: str) -> None:
        tracked = self._tracked[batch_id]
        await self._check_rest(tracked)
        now, batch = self.now(), tracked.open.batch
        declined = sum(name.startswith(DECLINED) for name in tracked.open.members)
        summary = summarise(
            tracked.outcomes.values(), unchanged=tracked.open.unchanged, declined=declined
        )
        report = BatchReport(
            batch=batch.model_dump(mode="json"),
            generation=self.generation,
            completed_at=now.isoformat(),
            elapsed_s=round(max(0.0, (now - batch.started_at).total_seconds()), 3),
            summary=summary.model_dump(mode="json"),
            checked=tally(tracked.verdicts, extra_fails=False),
            freshness=freshness(
                (
                    ended.freshness_s
                    for ended in tracked.outcomes.values()
                    if ended.exact
                    and ended.outcome in ("indexed", "removed")
                    and ended.freshness_s is not None
                ),
                self.check.freshness_warn_s,
            ),
            samples=await self._ask(tracked),
            members=tuple(islice(tracked.outcomes, MEMBERS_KEPT)),
        )
        await self.publish(
            BatchCompleted(
                batch=batch,
                generation=self.generation,
                completed_at=now,
                summary=summary,
                validation_passed=report.validation_passed,
            )
        )
        await self.book.close(batch_id, report.as_dict())
        self._forget(batch_id)
        log.info("batch_completed", batch=batch_id, **summary.model_dump(exclude={"chunks"}))
        await self._tell(batch_id, report.as_dict())

    async def _tell(self, batch_id: str, report: Mapping[str, Any]) -> None:
        async with self._changed:
            self._done[batch_id] = report
            if len(self._done) > 100:
                self._done.popitem(last=False)
            self._changed.notify_all()

    async def _check_rest(self, tracked: _Tracked) -> None:
        """Compare with the store what no event brought here, and once more what did not pass."""
        for attempt in range(RECHECKS):
            rest = [
                doc_key
                for doc_key, ended in tracked.outcomes.items()
                if ended.outcome in ("indexed", "removed")
                and not (doc_key in tracked.verdicts and tracked.verdicts[doc_key].passed)
            ]
            if not rest:
                return
            if attempt:
                await asyncio.sleep(RECHECK_S)
            for start in range(0, len(rest), CHECK_AT_ONCE):
                some = rest[start : start + CHECK_AT_ONCE]
                tracked.verdicts |= await self.check(await self.ledger.get_many(some))

    async def _ask(self, tracked: _Tracked) -> tuple[SampleResult, ...] | None:
        """Answers to the sample queries, at most every 30 s: they cost the encoder's time."""
        now = time.monotonic()
        changed = any(e.outcome in ("indexed", "removed") for e in tracked.outcomes.values())
        due = changed and now >= self._sampled_at + SAMPLES_EVERY_S
        if self.samples is None or not self.samples.queries or not due:
            return None
        self._sampled_at = now
        return tuple(await self.samples())


def _is_cancelled() -> bool:
    """Whether this task was cancelled. Before Python 3.12 `asyncio.wait_for`, which the client of
    the bus uses, may swallow that and return."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
