"""The door for submissions: messages of INTAKE from NATS clients and the gateway."""

import asyncio
import contextlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final, Literal, NamedTuple, Protocol

import structlog
from pydantic import Field

from services.producer.accept import place
from services.producer.submissions import submission
from services.producer.submissions.submission import SourceLimits, SubmittedContent
from shared.batches.members import DECLINED, BatchBook
from shared.domain.errors import (
    ChangeLogConflict,
    DocumentRefused,
    MalformedEvent,
    TransientError,
)
from shared.domain.events import (
    SUBMISSION,
    Batch,
    Document,
    DocumentChanged,
    DocumentNotTaken,
    DocumentSubmitted,
    Event,
    Receipt,
)
from shared.domain.ids import doc_key, piece_of, piece_prefix
from shared.domain.submissions import (
    MAX_MEDIA_TYPE,
    check_attributes,
    check_identity,
    read,
    stale,
)
from shared.ports import ChangeLog, ContentStore, Delivery, Now

log = structlog.get_logger()

AWAITED_S: Final = 600.0
"""How long a submission waits for its content, from its arrival and for some tries. It is refused
then: as a dead letter it would say nothing about its document."""
FEWEST_TRIES: Final = 5
LARGE_AT_ONCE: Final = 2
"""Documents in pieces that are in memory, each up to `max_bytes` of its source and twice so much
while it is joined."""
REPLY_TO: Final = "instep-reply-to"
INBOX: Final = re.compile(
    r"_INBOX(?:_gateway\.receipts\.[\w-]{22,}|_publisher(?:-([a-z0-9-]+))?)?(?:\.[\w-]+)+", re.ASCII
)
"""Inboxes of publishers, with the source of those that publish for one source only, and those at
which gateways wait for receipts only: each has a name that nobody can guess."""


class Reply(Protocol):
    """Answers the sender of a submission."""

    async def __call__(self, inbox: str, receipt: Receipt) -> None:
        """Send the receipt; best effort, raises no error: the sender may have stopped waiting."""
        ...


class NotThereYet(TransientError):
    """Content that may come: its server is away, or a piece of it is on its way.

    Args:
        code: of the refusal, where it does not come.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Fetched(NamedTuple):
    """A page of the web that a submission refers to."""

    data: bytes
    media_type: str | None
    """As its server tells it."""


class Fetch(Protocol):
    """Reads what a submission of a source refers to on the web."""

    async def __call__(self, source: str, url: str) -> Fetched:
        """
        Raises:
            DocumentRefused: `source_gone`, `too_large`, `reference_not_allowed`.
            NotThereYet: the server may answer next time.
        """
        ...


class Declined(DocumentNotTaken):
    """A submission that was refused at the door, so its document got no revision by it."""

    intake: int = Field(exclude=True)

    @property
    def message_id(self) -> str:
        return f"{self.word}:{self.generation}:{self.document.doc_key}:i{self.intake}"


def may_answer(inbox: str, source: str) -> bool:
    """Whether a receipt may go where a submission asks for it. Pure.

    Not into a stream, to a service, or to the publisher of another source.
    """
    found = INBOX.fullmatch(inbox)
    return found is not None and found[1] in (None, source)


class RevisionChanged(DocumentRefused):
    """The newest accepted change is not the one that the submission expects."""

    def __init__(self, current: int) -> None:
        now = f"its revision is {current}" if current else "there is no such document"
        super().__init__("revision_changed", f"if_revision: {now}")
        self.current = current


def check_revision(expected: int | None, current: int) -> None:
    """Raises RevisionChanged: a submission expects another revision. Pure.

    Args:
        current: sequence of the newest change; 0: there is none.
    """
    if expected is not None and expected != current:
        raise RevisionChanged(current)


@dataclass(frozen=True, slots=True)
class AcceptSubmission:
    """Handles INTAKE: check, fetch or join the content, compare, publish, answer.

    The same content again, and the deletion of an absent document, are published too: they carry
    the INTAKE number, without which an older submission that is still waiting would win.
    """

    generation: str
    changes: ChangeLog
    bodies: ContentStore
    batches: BatchBook
    reply: Reply
    now: Now
    fetch: Fetch
    limits: Mapping[str, SourceLimits] = field(default_factory=dict)
    """By source; others have the defaults."""
    watched: Collection[str] = ()
    """Sources that take no submissions: what lies at their place would overwrite them."""
    _large: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LARGE_AT_ONCE))

    async def __call__(self, data: bytes, delivery: Delivery) -> Sequence[Event]:
        """
        Raises:
            MalformedEvent: it does not identify a document.
            BusUnavailable: deliver it again.
        """
        source = delivery.subject.rpartition(".")[2]
        try:
            event = read(data, delivery.headers)
            source, path = check_identity(event, source)
        except DocumentRefused as refusal:
            await self._answer(delivery, _refused(refusal, None))
            raise MalformedEvent(f"{refusal.code}: {refusal}") from None
        document = Document(
            source=source,
            path=path,
            doc_key=doc_key(source, path),
            changed_at=self.now() - timedelta(seconds=delivery.age_s),
        )
        batch = self._batch(event, document, delivery)
        try:
            check_attributes(event)
            self._check_unwatched(source)
            if event.op == "piece":
                return await self._store_piece(event, document, delivery)
            is_large = event.pieces is not None
            async with self._large if is_large else contextlib.nullcontext():
                checked = await self._content(event, source, delivery)
                receipt = await self._publish(event, document, batch, checked, delivery.sequence)
        except DocumentRefused as refusal:
            return await self._decline(
                refusal, document, batch, delivery, of_batch=bool(event.batch)
            )
        if event.batch is not None and receipt.document is not None:
            await self.batches.join(batch, document.doc_key, receipt.document.revision)
        await self._answer(delivery, receipt)
        return []

    async def _store_piece(
        self, event: DocumentSubmitted, document: Document, delivery: Delivery
    ) -> Sequence[Event]:
        name = await self.bodies.put(piece_of(document.source, submission.piece(event)))
        await self._answer(delivery, Receipt(state="stored", document=document, piece=name))
        return []

    async def _content(
        self, event: DocumentSubmitted, source: str, delivery: Delivery
    ) -> SubmittedContent | None:
        try:
            return await self._found(event, source)
        except NotThereYet as error:
            if delivery.age_s < AWAITED_S or delivery.attempt < FEWEST_TRIES:
                raise
            raise DocumentRefused(error.code, str(error)) from None

    async def _found(self, event: DocumentSubmitted, source: str) -> SubmittedContent | None:
        limits = self.limits.get(source, SourceLimits())
        if event.pieces is not None:
            return submission.of_bytes(
                "pieces", await self._joined(event.pieces, source, limits), limits
            )
        url = submission.web_reference(event.ref, limits) if event.ref else None
        if url is None:
            return submission.check_content(event, limits)
        found = await self.fetch(source, url)
        content = submission.of_bytes("ref.url", found.data, limits)
        media_type = (found.media_type or "")[:MAX_MEDIA_TYPE] or None
        return replace(content, media_type=media_type)

    async def _joined(self, names: Sequence[str], source: str, limits: SourceLimits) -> bytes:
        """The bytes of all pieces; another worker may still hold one of them."""
        prefix, data = piece_prefix(source), bytearray()
        for n, name in enumerate(names, 1):
            try:
                stored = await self.bodies.get(name)
            except KeyError:
                missing = f"pieces: number {n} of {len(names)} has not arrived"
                raise NotThereYet("invalid_request", missing) from None
            if not stored.startswith(prefix):
                raise DocumentRefused(
                    "invalid_request", f"pieces: number {n} is no piece of this source"
                )
            data += stored[len(prefix) :]
            submission.check_size("pieces", len(data), limits)
        return bytes(data)

    async def _publish(
        self,
        event: DocumentSubmitted,
        document: Document,
        batch: Batch,
        checked: SubmittedContent | None,
        intake: int,
    ) -> Receipt:
        content = checked.content if checked else None
        while True:
            last = await self.changes.newest(document.source, document.doc_key)
            known = last.change if last else None
            if last and stale(event.source_version, intake, known):
                mine = last.change.intake == intake  # accepted before; the answer was lost
                return _receipt("queued" if mine else "stale", document, last.sequence)
            check_revision(event.if_revision, last.sequence if last else 0)
            if checked and checked.data is not None and content is None:
                content = await place(checked.data, self.bodies)
            version = event.source_version
            change = DocumentChanged(
                document=document,
                batch=batch,
                op="deleted" if event.deletes else "upserted",
                content=content,
                content_hash=checked.content_hash if checked else None,
                size=checked.size if checked else 0,
                media_type=event.media_type or (checked.media_type if checked else None),
                title=event.title,
                metadata=event.metadata,
                static_score=event.static_score,
                is_active=event.is_active,
                source_version=known.source_version if version is None and known else version,
                intake=intake,
                origin=SUBMISSION,
            )
            try:
                sequence = await self.changes.append(
                    change, expect=last.sequence if last else 0, message_id=f"i:{intake}"
                )
            except ChangeLogConflict:
                continue
            return _receipt("queued", document, sequence)

    def _check_unwatched(self, source: str) -> None:
        if source in self.watched:
            raise DocumentRefused(
                "source_watched",
                f"{source} is watched: change the document at its place, or send it to a source "
                "of its own",
            )

    async def _decline(
        self,
        refusal: DocumentRefused,
        document: Document,
        batch: Batch,
        delivery: Delivery,
        *,
        of_batch: bool,
    ) -> Sequence[Event]:
        log.info(
            "submission_refused",
            doc_key=document.doc_key,
            intake=delivery.sequence,
            code=refusal.code,
        )
        if of_batch:
            await self.batches.join(batch, f"{DECLINED}{delivery.sequence} {refusal.code}", 0)
        await self._answer(delivery, _refused(refusal, document))
        return [
            Declined(
                document=document,
                batch=batch,
                generation=self.generation,
                code=refusal.code,
                reason=str(refusal),
                intake=delivery.sequence,
            )
        ]

    def _batch(self, event: DocumentSubmitted, document: Document, delivery: Delivery) -> Batch:
        if event.batch is not None:
            return event.batch.model_copy(update={"source": document.source})
        return Batch(
            id=f"i_{delivery.sequence}",
            count=1,
            source=document.source,
            started_at=document.changed_at,
        )

    async def _answer(self, delivery: Delivery, receipt: Receipt) -> None:
        inbox = next((v for k, v in delivery.headers.items() if k.lower() == REPLY_TO), "")
        source = delivery.subject.rpartition(".")[2]
        if may_answer(inbox, source):
            await self.reply(inbox, receipt)


def _receipt(state: Literal["queued", "stale"], document: Document, sequence: int) -> Receipt:
    return Receipt(
        state=state,
        receipt=f"{document.doc_key}-{sequence}",
        document=document.model_copy(update={"revision": sequence}),
        code="stale_version" if state == "stale" else None,
        detail="a newer change was accepted before" if state == "stale" else None,
    )


def _refused(refusal: DocumentRefused, document: Document | None) -> Receipt:
    if document and isinstance(refusal, RevisionChanged):
        document = document.model_copy(update={"revision": refusal.current})
    return Receipt(state="refused", document=document, code=refusal.code, detail=str(refusal))
