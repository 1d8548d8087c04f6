"""The repairs of a sweep: the changes that it sends, and their outcomes."""

import asyncio
import contextlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from services.validator.sweep.differences import Difference, given_up, unrepaired
from shared.batches.members import new_batch_id
from shared.domain.errors import LedgerConflict
from shared.domain.events import Batch, Document
from shared.domain.ordering import (
    ENRICH,
    Failed,
    Reason,
    Record,
    Settled,
    fail,
    is_stale_version,
    newest_seq,
)
from shared.ports import ChangeLog, Ledger, Now, UnreadableChange, VectorStore
from shared.repair import remove_unknown, resubmit_newest

log = structlog.get_logger()

SENT_AT_ONCE: Final = 32
GIVE_UP_S: Final = 60.0
POLL_S: Final = 0.02
POLL_MOST_S: Final = 0.5


@dataclass(slots=True)
class Repairs:
    """The repairs of one sweep.

    batch_size: documents that are sent before the end of earlier ones is awaited; at most two such
        batches are on their way. 0: all are sent, and the sweep does not wait.
    give_up_s: without any of them ending for so long, no more are sent.
    """

    generation: str
    ledger: Ledger
    store: VectorStore
    changes: ChangeLog
    now: Now
    batch_size: int
    give_up_s: float = GIVE_UP_S
    sent: dict[str, int] = field(default_factory=dict)
    """doc_key to the revision that repairs the document, or takes it out."""
    open: dict[str, int] = field(default_factory=dict)
    """Sent, and neither settled nor failed yet."""
    failed: set[str] = field(default_factory=set)
    hopeless: dict[str, Difference] = field(default_factory=dict)
    """No change of them can be sent again, or would be accepted."""
    unsent: int = 0
    """Documents that were left, because no sent one had ended for long."""
    _batch: Batch | None = None

    async def __call__(self, found: Sequence[Difference]) -> None:
        """Send the repairs. Raises BusUnavailable, StoreUnavailable: repeating is safe."""
        todo = [one for one in found if one.repairable or one.unknown]
        size = self.batch_size or max(1, len(todo))
        for start in range(0, len(todo), size):
            await self._send(todo[start : start + size])
            if self.batch_size and not await self._ended(at_most=size):
                self.unsent = max(0, len(todo) - start - size)
                log.warning("sweep_gave_up", unsent=self.unsent)
                return
        if self.batch_size:
            await self._ended(at_most=0)

    async def _send(self, some: Sequence[Difference]) -> None:
        for start in range(0, len(some), SENT_AT_ONCE):
            together = some[start : start + SENT_AT_ONCE]
            revisions = await asyncio.gather(*map(self._repair, together))
            for one, revision in zip(together, revisions, strict=True):
                if revision is not None:
                    self.sent[one.doc_key] = self.open[one.doc_key] = revision

    async def _repair(self, one: Difference) -> int | None:
        """The revision that will put the document right; None: none is needed, or possible."""
        if one.foreign:
            await self.store.delete(one.extra)
            return None
        if one.unknown:
            return await self._remove(one)
        if one.extra and await self._deleted_what_never_was(one) and one.only_extra:
            return None
        newest = await self.changes.newest(one.source, one.doc_key)
        if newest and isinstance(newest.change, UnreadableChange):
            await self._note(one, newest.sequence, newest.change.reason)
            newest = None
        if newest is None or await self._is_outdated(one, newest.change.source_version):
            self.hopeless[one.doc_key] = one
            return None
        return await resubmit_newest(self.changes, newest, generation=self.generation)

    async def _note(self, one: Difference, sequence: int, reason: Reason) -> None:
        """List a document whose newest change cannot be read; its dead letter may be gone."""
        entry = await self.ledger.get(one.doc_key)
        record = entry.record if entry else None
        failed = Failed(sequence, ENRICH, reason)
        noted = fail(record, failed, source=one.source, path=one.path)
        if noted and noted != record:
            with contextlib.suppress(LedgerConflict):  # a newer revision of it is known
                await self.ledger.update(one.doc_key, noted, expect=entry.at if entry else 0)

    async def forget(self, doc_keys: Iterable[str]) -> None:
        """End documents of which only an unreadable ledger record is left.

        They have neither a change nor rows, so nothing would ever replace it.
        """
        at = self.now().timestamp()
        for doc_key in doc_keys:
            ended = Record("unknown", doc_key, Settled(0, "removed", (), at, at))
            with contextlib.suppress(LedgerConflict):  # it can be read by now
                await self.ledger.update(doc_key, ended, expect=0)
                log.warning("ledger_record_replaced", doc_key=doc_key)

    async def _is_outdated(self, one: Difference, version: int | None) -> bool:
        """Whether the publisher's number of the change is below the ledger's, so it is refused.

        Possible only after a loss of DOCS; its publisher has to send it under a higher number.
        """
        entry = await self.ledger.get(one.doc_key) if one.lost else None
        return entry is not None and is_stale_version(entry.record, version)

    async def _deleted_what_never_was(self, one: Difference) -> bool:
        """Delete the extra rows that `clean` does not see; whether those were all.

        They are born after the newest revision. An indexer writes rows only after the ledger knows
        their revision, and that never goes back: so no indexer wrote them or will need them.
        """
        entry = await self.ledger.get(one.doc_key)
        if entry is None:
            return False
        cleanable = await self.store.ids({one.doc_key: newest_seq(entry.record)})
        if never := one.extra - cleanable[one.doc_key]:
            await self.store.delete(never)
        return never == one.extra

    async def _remove(self, one: Difference) -> int | None:
        """Submit the deletion of an unknown document, unless it is known by now."""
        now = self.now()
        if self._batch is None:
            batch_id = new_batch_id(now, secrets.token_bytes(4))
            self._batch = Batch(id=batch_id, count=0, source=one.source, started_at=now)
        document = Document(source=one.source, path=one.path, doc_key=one.doc_key, changed_at=now)
        batch = self._batch.model_copy(update={"source": one.source})
        return await remove_unknown(self.changes, document, batch)

    async def _ended(self, *, at_most: int) -> bool:
        """Wait until only so many repairs are open; False: for long none has ended."""
        loop = asyncio.get_running_loop()
        pause_s, moved_at = POLL_S, loop.time()
        while len(self.open) > at_most:
            await asyncio.sleep(pause_s)
            before = len(self.open)
            records = await self.ledger.get_many(self.open)
            self.failed |= given_up(self.open, records)
            self.open = unrepaired(self.open, records)
            if len(self.open) < before:
                pause_s, moved_at = POLL_S, loop.time()
            elif loop.time() - moved_at > self.give_up_s:
                return False
            pause_s = min(2 * pause_s, POLL_MOST_S)
        return True
