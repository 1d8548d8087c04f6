"""The enricher's handler: makes a change a pending revision, and publishes its parts."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import structlog

from services.enricher.parts import Prepared, is_same_plan, parts, revision_of
from shared.domain.codecs.change_codec import check_identity
from shared.domain.errors import DocumentRefused, LedgerConflict
from shared.domain.events import DocumentChanged, DocumentNotTaken, Event
from shared.domain.ordering import (
    Pending,
    Record,
    is_pending,
    is_stale_version,
    newest_seq,
    revise,
    settled_seq,
)
from shared.domain.priority import Allowance, lane_of_message
from shared.observe.progress import Activity, Progress
from shared.ports import ChangeLog, Delivery, Ledger, Now
from shared.repair import resubmit

log = structlog.get_logger()

Prepare = Callable[[DocumentChanged], Awaitable[Prepared]]
"""Load, extract and cut a document. Raises DocumentRefused."""


@dataclass(frozen=True, slots=True)
class Enrich:
    """Handles every accepted revision: edit, deletion, no-op, refusal, repair."""

    generation: str
    ledger: Ledger
    changes: ChangeLog
    prepare: Prepare
    now: Now
    progress: Progress
    dimensions: int = 384
    """Of the vectors to come: they must fit a message with the text."""
    allowance: Allowance = field(default_factory=Allowance)

    async def __call__(self, event: DocumentChanged, delivery: Delivery) -> Sequence[Event]:
        document = event.document
        check_identity(document)
        prepared: Prepared | DocumentRefused | None = None
        looked = False
        while True:
            entry = await self.ledger.get(document.doc_key)
            record = entry.record if entry else None
            if self._is_over(record, event):
                return []
            if not looked:
                prepared, looked = await self._prepared(event), True
            revision = revision_of(event, prepared, self.generation)
            if record and record.pending and is_pending(record, document.revision):
                if is_same_plan(record.pending, revision):
                    return self._follow(event, delivery, record.pending, prepared)
                # the content behind a reference, or the chunker, is another one by now
                await resubmit(
                    self.changes, document.source, document.doc_key, generation=self.generation
                )
                return []
            planned = revise(
                record,
                revision,
                source=document.source,
                path=document.path,
                now=self.now().timestamp(),
            )
            try:
                await self.ledger.update(document.doc_key, planned, expect=entry.at if entry else 0)
            except LedgerConflict:
                continue
            assert planned.pending is not None
            self._count(event, planned.pending)
            return self._follow(event, delivery, planned.pending, prepared)

    def _is_over(self, record: Record | None, event: DocumentChanged) -> bool:
        seq = event.document.revision
        if seq < newest_seq(record) or seq == settled_seq(record):
            return True
        return not is_pending(record, seq) and is_stale_version(record, event.source_version)

    async def _prepared(self, event: DocumentChanged) -> Prepared | DocumentRefused | None:
        if event.op == "deleted":
            return None
        try:
            return await self.prepare(event)
        except DocumentRefused as refusal:
            return refusal

    def _follow(
        self,
        event: DocumentChanged,
        delivery: Delivery,
        pending: Pending,
        prepared: Prepared | DocumentRefused | None,
    ) -> list[Event]:
        events: list[Event] = []
        if pending.outcome == "refused" and pending.reason:
            events.append(
                DocumentNotTaken(
                    document=event.document,
                    batch=event.batch,
                    generation=self.generation,
                    code=pending.reason.code,
                    reason=pending.reason.text,
                )
            )
        lane = self.allowance.lane_of_parts(
            lane_of_message(delivery.headers),
            event.document.source,
            len(pending.todo),
            self.now().timestamp(),
        )
        made = parts(
            event.document,
            event.batch,
            self.generation,
            pending,
            prepared,
            dimensions=self.dimensions,
        )
        return [*events, *(part.model_copy(update={"lane": lane}) for part in made)]

    def _count(self, event: DocumentChanged, pending: Pending) -> None:
        self.progress.rows_planned += len(pending.todo)
        if pending.outcome == "refused" and pending.reason:
            self.progress.say(Activity("refused", event.document.path, pending.reason.text))
        log.info(
            "revision_planned",
            doc_key=event.document.doc_key,
            revision=pending.seq,
            outcome=pending.outcome,
            rows=len(pending.rows),
            todo=len(pending.todo),
            code=pending.reason.code if pending.reason else None,
        )
