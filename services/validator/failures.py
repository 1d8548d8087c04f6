"""What a dead letter means for its document: the ledger says failed, and the world is told."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import LedgerConflict
from shared.events import Batch, Document, DocumentFailed, Event
from shared.ordering import Failed, Reason, fail
from shared.ports import Ledger
from shared.progress import Activity, Progress


@dataclass(frozen=True, slots=True)
class Failure:
    """A document's event that no retry could help."""

    document: Document
    batch: Batch
    stage: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class RecordFailure:
    """Notes the failure if no newer revision is known; nothing decides by the note."""

    generation: str
    ledger: Ledger
    progress: Progress

    async def __call__(self, failure: Failure) -> Sequence[Event]:
        document = failure.document
        while True:
            entry = await self.ledger.get(document.doc_key)
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
        self.progress.say(Activity("failed", document.path, failure.reason))
        return [
            DocumentFailed(
                document=document,
                batch=failure.batch,
                generation=self.generation,
                stage=failure.stage,
                code=failure.code,
                reason=failure.reason,
            )
        ]
