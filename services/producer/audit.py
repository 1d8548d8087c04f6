"""The source's side of the sweep: DOCS and the ledger, compared with a folder's listing.

A document that only DOCS or the ledger knows is entered in the listing. The comparison with the
folder, and the guard over removals, then treat it as any other: there is one way out of the index.

The gathered state may be out of date at once. So no decision rests on it: it only selects the
documents whose newest change is worth a question to the leader of DOCS.
"""

import asyncio
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Final

from services.producer.accept import says_the_same
from services.producer.reconcile import Doubts, Gathering, corrected, entered
from services.producer.removals.moves import each
from services.producer.sources.listing import NEVER_READ, Seen, compare
from services.producer.sources.port import SourceUnavailable, Unreadable, Unsettled
from services.producer.sync import Sync
from services.producer.watch import SourceWatch
from shared.domain.ids import doc_key
from shared.ports import Audit, ChangeLog, Ledger

ASKED_AT_ONCE: Final = 32
READ_AT_ONCE: Final = 2
RECORDS_AT_ONCE: Final = 2_000


@dataclass(frozen=True, slots=True)
class Mending:
    """Brings the kept listing of one source back in step with DOCS and the ledger."""

    sync: Sync
    changes: ChangeLog
    ledger: Ledger

    @property
    def source(self) -> str:
        return self.sync.accept.source

    async def at_start(self) -> None:
        """Mend a listing that was lost, wholly or in part. Raises BusUnavailable."""
        if await _has_any(self.changes.sequences(self.source)):  # else the ledger need not be read
            await self.mend(await self.gather(thorough=True))

    async def gather(self, *, thorough: bool = False) -> Doubts:
        """
        Args:
            thorough: read the whole ledger, for documents that neither DOCS nor the listing has.

        Raises:
            BusUnavailable: nothing is known.
        """
        entries = list(self.sync.listing.entries.items())
        found = await asyncio.to_thread(Gathering, self.source, entries)
        async for _, key, sequence in self.changes.sequences(self.source):
            found.change(key, sequence)
        if thorough or found.docs_has_lost_some:
            async for key, record in self.ledger.entries():
                if record:
                    found.record(key, record)
        else:
            unlisted = found.unlisted
            for start in range(0, len(unlisted), RECORDS_AT_ONCE):
                some = unlisted[start : start + RECORDS_AT_ONCE]
                for key, record in (await self.ledger.get_many(some)).items():
                    found.record(key, record)
        return found.doubts()

    async def mend(self, doubts: Doubts) -> None:
        """Correct the listing; nothing else may write to it meanwhile. Raises BusUnavailable."""
        for path, seen in (await self.corrections(doubts)).items():
            self.sync.listing.put(path, seen)

    async def corrections(self, doubts: Doubts) -> dict[str, Seen]:
        """Path to what its entry should be. Raises BusUnavailable."""
        entries, found = self.sync.listing.entries, dict[str, Seen]()

        async def ask(key: str, path: str, listed: bool) -> None:
            newest = await self.changes.newest(self.source, key)
            if not listed:
                name, seen = entered(newest, path) or ("", NEVER_READ)
                if name and name not in entries and doc_key(self.source, name) == key:
                    found[name] = seen
            elif (now := entries.get(path)) and (better := corrected(now, newest)):
                found[path] = better

        await each(
            chain(
                (ask(doc_key(self.source, path), path, True) for path in doubts.listed),
                (ask(key, path, False) for key, path in doubts.unlisted.items()),
            ),
            ASKED_AT_ONCE,
        )
        return found


@dataclass(frozen=True, slots=True)
class SourceAudit:
    """Implements `shared.ports.Auditor`. By source: its watch, and the `Mending` of its listing."""

    sources: Mapping[str, tuple[SourceWatch, Mending]]
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __call__(self, *, dry_run: bool = False) -> Sequence[Audit]:
        async with self._one:
            return [await self._of(name, dry_run=dry_run) for name in sorted(self.sources)]

    async def _of(self, name: str, *, dry_run: bool) -> Audit:
        watch, mending = self.sources[name]
        doubts = await mending.gather()
        try:
            if dry_run:
                return await Rehearsal(mending, watch).of(doubts)
            listed = await watch.rescan(partial(mending.mend, doubts))
        except SourceUnavailable as error:
            return Audit(name, files=0, error=str(error))
        return Audit(name, listed.files, listed.submitted, listed.removed, listed.held)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The outcome of an audit, without doing it."""

    mending: Mending
    watch: SourceWatch

    async def of(self, doubts: Doubts) -> Audit:
        """Raises SourceUnavailable, BusUnavailable."""
        sync, mending = self.mending.sync, self.mending
        corrections = await mending.corrections(doubts)
        root = await asyncio.to_thread(sync.source.identity)
        scan = await asyncio.to_thread(sync.source.scan)
        entries = sync.listing.entries | corrections
        comparison = await asyncio.to_thread(
            compare, entries, scan.files, max_bytes=sync.source.max_bytes
        )
        gone, unseen = scan.judge(comparison.vanished)
        exchanged = self.watch.is_exchanged(root)
        unwanted = await self.watch.unwanted(gone, exchanged=exchanged)
        missing = [path for path in gone if path not in unwanted]
        elsewhere = await self.watch.moved(entries, missing, scan.files, exchanged=exchanged)
        certain = elsewhere | unwanted.keys()
        removed, held = self.watch.guard.forecast(
            [path for path in gone if path not in certain],
            unseen,
            known=len(entries) - len(elsewhere),
            at=time.monotonic(),
            exchanged=exchanged,
        )
        submitted: list[str] = []
        await each(
            (self._look(path, entries.get(path), submitted) for path in comparison.suspects),
            READ_AT_ONCE,
        )
        name, files = mending.source, len(scan.files)
        return Audit(name, files, len(submitted), removed + len(certain), held)

    async def _look(self, path: str, seen: Seen | None, differing: list[str]) -> None:
        place, source = self.mending.sync.source, self.mending.source
        try:
            body = await asyncio.to_thread(place.read, path)
            if body is None or (seen is not None and seen.content_hash == body.content_hash):
                return
            newest = await self.mending.changes.newest(source, doc_key(source, path))
        except Unreadable:
            return  # it would accept nothing
        except Unsettled:
            differing.append(path)
            return
        if says_the_same(newest, body) is None:
            differing.append(path)


async def _has_any(items: AsyncIterator[object]) -> bool:
    try:
        async for _ in items:
            return True
        return False
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()
