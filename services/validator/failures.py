"""The effect of a dead letter on its document: a failure in the ledger, and an event."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.domain.errors import LedgerConflict
from shared.domain.events import Batch, Document, DocumentFailed, Event
from shared.domain.ordering import Failed, Reason, fail
from shared.observe.progress import Activity, Progress
from shared.ports import Ledger


@dataclass(frozen=True, slots=True)
class Failure:
    """A document's event in the dead letters.

    document: its path is empty where the event has none.
    batch: None where the event has none.
    """

    document: Document
    batch: Batch | None
    stage: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class RecordFailure:
    """Notes the failure if no newer revision is known; no decision depends on the note."""

    generation: str
    ledger: Ledger
    progress: Progress

    async def __call__(self, failure: Failure) -> Sequence[Event]:
        document = failure.document
        while True:
            entry = await self.ledger.get(document.doc_key)
            if entry and not document.path:
                if entry.record.source != document.source:
                    return []  # garbage under the key of another source's document
                document = document.model_copy(update={"path": entry.record.path})
            noted = fail(
                entry.record if entry else None,
                Failed(document.revision, failure.stage, Reason(failure.code, failure.reason)),
                source=document.source,
                path=document.path,
            )
            if noted is None:
                return []
            try:
                await self.ledger.update(document.doc_key, noted, expect=entry.at if entry else 0)
                break
            except LedgerConflict:
                continue
        self.progress.failed += 1
        named = document.path or document.doc_key
        self.progress.say(Activity("failed", named, failure.reason))
        if not document.path:
            return []  # the document's path is not known yet
        return [
            DocumentFailed(
                document=document,
                batch=failure.batch or _alone(document),
                generation=self.generation,
                stage=failure.stage,
                code=failure.code,
                reason=failure.reason,
            )
        ]


def _alone(document: Document) -> Batch:
    """The batch of a change without one."""
    return Batch(
        id=f"c_{document.revision}",
        count=1,
        source=document.source,
        started_at=document.changed_at,
    )
