"""The sweep (P6): compares DOCS, ledger and store by digests, and repairs the differences.

Every repair is a re-submission of the document's newest change (`shared.repair`), so vectors come
from the cache and nothing is encoded; rows of unknown documents go by an ordinary deletion. Changes
go on meanwhile: only a fault that two looks have seen is a difference, and a needless re-submission
does no harm.
"""

import asyncio
import math
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

import structlog

from services.validator.sweep.differences import Census, Difference, confirm, groups, held, judge
from services.validator.sweep.repairs import GIVE_UP_S, Repairs
from services.validator.sweep.swept import KINDS, Swept, counts, samples
from shared.domain.ids import bucket_of
from shared.domain.ordering import Record
from shared.ports import ChangeLog, Ledger, Now, VectorStore

log = structlog.get_logger()

ROWS_AT_ONCE: Final = 20_000
"""Rows of the store whose ids are in memory during the close look at buckets."""
RECORDS_AT_ONCE: Final = 512
BATCH: Final = 100
SECOND_LOOK_S: Final = 0.5
STUCK_S: Final = 300.0
PASSING_S: Final = 10.0
CARRIED: Final = 64
"""Parts that are read one by one, to tell stuck ones from carried ones; more are a queue."""


class Road(Protocol):
    """The bus's view of changes on their way. Raises BusUnavailable."""

    async def taken(self) -> int:
        """DOCS sequence up to which the enricher is done with every message."""
        ...

    async def passed(self, within_s: float) -> bool:
        """Whether all parts between enricher and ledger at the call are done in that time."""
        ...

    async def carried(self, most: int) -> Set[tuple[str, int]] | None:
        """doc_key and revision of every part between enricher and ledger; None: over `most`."""
        ...


@dataclass(frozen=True, slots=True)
class SweepLimits:
    """How patiently a sweep looks."""

    second_look_s: float = SECOND_LOOK_S
    stuck_s: float = STUCK_S
    """A revision that has been pending for longer is suspected; infinite: none is."""
    passing_s: float = PASSING_S
    """How long to wait whether a suspected revision is only slow."""
    give_up_s: float = GIVE_UP_S
    """Without any repair ending for so long, no more are sent."""


def nothing_listed() -> Collection[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Sweep:
    generation: str
    ledger: Ledger
    store: VectorStore
    changes: ChangeLog
    road: Road
    now: Now
    listed: Callable[[], Collection[str]] = nothing_listed
    """Sources that have been listed as a whole, so that a document of them is known or gone."""
    limits: SweepLimits = SweepLimits()
    expect: Callable[[int], None] = lambda _: None
    """Called with the number of documents about to be repaired; less those that were not sent."""

    async def __call__(
        self, *, dry_run: bool = False, force: bool = False, batch_size: int = BATCH
    ) -> Swept:
        """Compare, and repair the differences.

        Args:
            dry_run: change nothing.
            force: take out the rows of unknown documents that wait for a person, too.
            batch_size: as in `Repairs`.

        Raises:
            BusUnavailable, StoreUnavailable: start again; the sent changes are harmless.
        """
        started = self.now()
        census = await self._census()
        digests = await self.store.digests()
        rows = {bucket: digest.rows for bucket, digest in digests.items()}
        found = await self._confirmed(census, census.suspects(digests), rows)
        kept = [] if force else held(found, census.served, self.listed())
        repairs = Repairs(
            generation=self.generation,
            ledger=self.ledger,
            store=self.store,
            changes=self.changes,
            now=self.now,
            batch_size=batch_size,
            give_up_s=self.limits.give_up_s,
        )
        if not dry_run:
            todo = [one for one in found if one not in kept]
            self.expect(sum(one.repairable for one in todo))
            await repairs(todo)
            self.expect(-sum(one.repairable and one.doc_key not in repairs.sent for one in todo))
            await repairs.forget(census.garbage.difference(one.doc_key for one in found))
        swept = Swept(
            documents=census.documents,
            rows=sum(rows.values()),
            **counts(found, kept, repairs.hopeless),
            resubmitted=repairs.sent,
            processed=len(repairs.sent) - len(repairs.open) - len(repairs.failed),
            failed=len(repairs.failed),
            unsent=repairs.unsent,
            samples=samples(found, kept, repairs.hopeless),
            took_s=round((self.now() - started) / timedelta(seconds=1), 3),
            dry_run=dry_run,
        )
        log.info("swept", rows=swept.rows, **{kind: getattr(swept, kind) for kind in KINDS})
        return swept

    async def _census(self) -> Census:
        """DOCS before the ledger: a change is in DOCS first, so few seem to be lost."""
        census = Census(
            taken=await self.road.taken(),
            stuck_before=self.now().timestamp() - self.limits.stuck_s,
        )
        async for source, doc_key, sequence in self.changes.sequences():
            census.change(source, doc_key, sequence)
        async for doc_key, record in self.ledger.entries():
            if record:
                census.record(doc_key, record)
            elif not census.knows(doc_key):
                census.garbage.add(doc_key)
        return census

    async def _confirmed(
        self, census: Census, buckets: Sequence[str], rows: Mapping[str, int]
    ) -> list[Difference]:
        """The differences that two looks agree upon."""
        first = await self._look(census, buckets, rows)
        if not first:
            return []
        slow = any(one.stuck for one in first.values())
        if slow and not await self.road.passed(self.limits.passing_s):
            carried = await self.road.carried(CARRIED)
            if carried is None:
                census.stuck_before = -math.inf  # parts in a long queue are not stuck
            else:
                census.carried = carried
        await asyncio.sleep(self.limits.second_look_s)
        second = await self._look(census, sorted({bucket_of(key) for key in first}), rows)
        both = (confirm(first[key], second[key]) for key in sorted(first.keys() & second.keys()))
        return [one for one in both if one]

    async def _look(
        self, census: Census, buckets: Sequence[str], rows: Mapping[str, int]
    ) -> dict[str, Difference]:
        """The documents of these buckets, one by one; memory for some of the buckets at a time."""
        found: dict[str, Difference] = {}
        for group in groups(buckets, rows, ROWS_AT_ONCE):
            holdings = await self.store.holdings(group)
            keys = {key for bucket in group for key in census.heads.get(bucket, ())}
            records = await self._records(keys | holdings.keys())
            for key in keys | holdings.keys():
                if one := judge(key, census, records.get(key), holdings.get(key)):
                    found[key] = one
            await asyncio.sleep(0)
        return found

    async def _records(self, keys: Collection[str]) -> dict[str, Record]:
        found: dict[str, Record] = {}
        wanted = sorted(keys)
        for start in range(0, len(wanted), RECORDS_AT_ONCE):
            found |= await self.ledger.get_many(wanted[start : start + RECORDS_AT_ONCE])
        return found
