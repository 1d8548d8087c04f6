"""Documents that come in over HTTP: each becomes a submission, and its receipt the answer.

What is answered as accepted is in DOCS: it survives the end of every process.
"""

import asyncio
import hashlib
import secrets
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Final

from services.gateway.models import ReceiptRequest
from services.gateway.problems import KINDS, Problem
from services.gateway.queries import InstanceQueries
from services.gateway.uploads.lines import key_of, same
from services.gateway.uploads.models import DeleteRequest, UploadAnswer, UploadedDocument
from shared.domain.errors import DocumentRefused
from shared.domain.events import Receipt
from shared.domain.ids import check_source
from shared.domain.submissions import (
    LARGEST_BYTES,
    MAX_BYTES,
    PIECE_BYTES,
    content_of,
    encoded,
    piece_body,
    stale,
)
from shared.domain.topology import KB
from shared.ports import ChangeLog, Intake, Newest, Submitted

Read = Callable[[int], Awaitable[bytes]]
"""Some bytes of a body, at most so many; none at its end. Raises Problem."""

PIECES_AT_ONCE: Final = 8
FIRST_RECEIPT_S: Final = 5.0
"""How long one request looks for receipts of earlier messages with the ids of its own."""
LOOK_EVERY_S: Final = 0.2
REMEMBERED: Final = 10_000
REMEMBERED_S: Final = 600.0
"""As long as INTAKE knows the id of a message."""
MOST_DELETED: Final = 10_000
"""Documents below a prefix that one call deletes."""
MOST_INLINE_BYTES: Final = LARGEST_BYTES - 64 * KB
"""Of a content in its message; all other fields together take less than the rest."""

CHANGED_SINCE: Final = (
    "the key was used, and the document has changed since: whether this is the same request cannot "
    "be told"
)
OTHER_BEFORE: Final = "another request was sent with this key, or what was stored does not tell"


class OtherRequest(Problem):
    """The key came before with something else, as far as can be told."""


@dataclass(slots=True)
class Sending:
    """What is known of a request beside its submissions.

    joined: hash of the content, where that is in pieces.
    until: the end of its wait for first receipts, by the clock; None: it has not waited yet.
    """

    joined: str = ""
    until: float | None = None


@dataclass(slots=True)
class _Known:
    """A request with an Idempotency-Key; `receipt` None: it has no answer yet."""

    digest: str
    at: float
    receipt: Receipt | None = None


@dataclass(frozen=True)
class Uploads:
    """The way of documents from HTTP to the producer.

    present: the number of processes that take submissions; None: not known.
    most_bytes: of a document, by source; others have the default.
    """

    intake: Intake
    changes: ChangeLog
    queries: InstanceQueries
    present: Callable[[], int | None]
    most_bytes: Mapping[str, int] = field(default_factory=dict)
    only: Set[str] | None = None
    """The sources that may be written; None: all."""
    clock: Callable[[], float] = time.monotonic
    _pieces: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PIECES_AT_ONCE))
    _known: OrderedDict[str, _Known] = field(default_factory=OrderedDict)

    async def check(self, source: str) -> None:
        """Refuse a request before its body is read.

        Raises:
            Problem: the source takes no documents, or nobody is there to take them.
        """
        check_source(source)
        if self.only is not None and source not in self.only:
            raise Problem("forbidden", f"this key may not write to the source {source!r}")
        if source in await self.queries.folders():
            raise Problem("source_watched", f"{source} is watched: its own place has its documents")
        if self.present() == 0:
            raise Problem("producer_unavailable", "no producer runs; nothing was stored")
        await self.intake.open()

    def limit(self, source: str) -> int:
        return self.most_bytes.get(source, MAX_BYTES)

    async def content(
        self, source: str, path: str, read: Read, *, inline: int = PIECE_BYTES
    ) -> tuple[dict[str, Any], str]:
        """The fields for a content, which is sent in pieces where it is large, and its hash.

        Args:
            inline: bytes of a content that comes back in the fields.

        Raises:
            Problem: `document_too_large`, or it cannot be sent.
        """
        size, names, limit, joined = 0, list[str](), self.limit(source), hashlib.sha256()
        async for data in _in_pieces(read):
            size += len(data)
            joined.update(data)
            if size > limit:
                detail = f"{source} takes documents of at most {limit:,} bytes"
                raise Problem("document_too_large", detail, "raise max_bytes of the source")
            if size < PIECE_BYTES and size <= inline:
                return _inline(data), joined.hexdigest()
            names.append(await self._piece(source, path, data))
        return {"pieces": names} if names else {"text": ""}, joined.hexdigest()

    async def _piece(self, source: str, path: str, data: bytes) -> str:
        async with self._pieces:
            receipt = await self.take(source, piece_body(path, data))
        return accepted(receipt).piece or ""

    async def once(
        self,
        source: str,
        body: Mapping[str, Any],
        name: str | None,
        sending: Sending | None = None,
    ) -> Receipt:
        """The receipt of a submission, which is taken once for each name.

        Args:
            name: as `lines.message_id` makes it; None: it has none.

        Raises:
            Problem: `idempotency_conflict`, `idempotency_in_progress`, and those of `take`.
        """
        if name is None:
            return await self.take(source, body)
        batch = (body.get("batch") or {}).get("id")
        digest = hashlib.sha256(encoded({**body, "batch": batch})).hexdigest()
        known = self._remembered(name)
        if known is not None and known.digest != digest:
            raise OtherRequest("idempotency_conflict", OTHER_BEFORE)
        if known is not None and known.receipt is None:
            raise Problem("idempotency_in_progress", "the first request with this key still runs")
        if known is not None and known.receipt is not None:
            return known.receipt
        one = self._known[name] = _Known(digest, self.clock())
        try:
            one.receipt = await self.take(source, body, name, sending)
        finally:
            if one.receipt is None:
                self._known.pop(name, None)
        return one.receipt

    def _remembered(self, name: str) -> _Known | None:
        now = self.clock()
        while self._known:
            oldest = next(iter(self._known.values()))
            if len(self._known) < REMEMBERED and oldest.at + REMEMBERED_S > now:
                break
            self._known.popitem(last=False)
        return self._known.get(name)

    async def take(
        self,
        source: str,
        body: Mapping[str, Any],
        name: str = "",
        sending: Sending | None = None,
    ) -> Receipt:
        """Submit, and wait for the producer's answer.

        Raises:
            Problem: `producer_unavailable`, `idempotency_conflict`, `idempotency_in_progress`.
            BusUnavailable: it may not be stored. StreamFull: it is not.
        """
        stored = await self.intake.submit(
            source,
            body,
            token=secrets.token_urlsafe(12),
            message_id=name or f"http:{uuid.uuid4().hex}",
        )
        repeated = stored.duplicate and bool(name)  # else the bus had it, and its answer was lost
        if stored.receipt is not None:
            return Receipt.model_validate(stored.receipt)
        if body.get("op") != "piece":  # the answer may be lost, or was sent at the first time
            receipt = await self._accepted(source, body, stored, sending or Sending(), repeated)
            if receipt is not None:
                return receipt
        if repeated:
            raise Problem(
                "idempotency_in_progress",
                "the first request with this key has no receipt: it waits, or was refused, or was "
                "about another document",
                "repeat it in a moment, or use a new key",
            )
        raise Problem(
            "producer_unavailable",
            "the bus has the document, but no producer has taken it yet; one that runs later will",
        )

    async def _accepted(
        self,
        source: str,
        body: Mapping[str, Any],
        stored: Submitted,
        sending: Sending,
        repeated: bool,
    ) -> Receipt | None:
        """The receipt of a submission by the newest change of its document, if that tells it.

        Args:
            repeated: an earlier request had the key of this one.
        """
        version, sequence = body.get("source_version"), stored.sequence
        if sending.until is None and stored.duplicate:
            sending.until = self.clock() + FIRST_RECEIPT_S
        while True:
            newest = await self.changes.newest(source, key_of(source, body))
            if newest is not None:
                change = newest.change
                if change.intake == sequence or stale(version, sequence, change):
                    if repeated:
                        _check_repeated(newest, body, sequence, sending.joined)
                    return _receipt_by(newest, sequence)
            if not stored.duplicate or self.clock() >= (sending.until or 0.0):
                return None
            await asyncio.sleep(LOOK_EVERY_S)

    async def answer(self, receipt: Receipt, wait_s: float) -> UploadAnswer:
        """The receipt of an accepted document, as far as it has come within the time."""
        document = receipt.document
        assert document is not None, "a receipt of an accepted document names it"
        request = ReceiptRequest(receipt=receipt.receipt or "", wait=wait_s)
        found = await self.queries.receipt(request)
        shown = UploadedDocument(**document.model_dump())
        told = receipt.detail if receipt.state == "stale" else None
        return UploadAnswer(**found.model_dump(), document=shown, detail=told or "")

    async def named(self, request: DeleteRequest) -> tuple[list[str], int]:
        """The paths that a deletion names, and how many below its prefix are left over.

        Raises:
            Problem: `source_watched` and others, as `check`.
        """
        await self.check(request.source)
        if request.paths is not None:
            return list(dict.fromkeys(request.paths)), 0
        return await self.queries.paths(request.source, request.prefix or "", MOST_DELETED)


def accepted(receipt: Receipt, *, versioned: bool = False, conditional: bool = False) -> Receipt:
    """The receipt of a document that was accepted. Pure.

    Args:
        versioned: its publisher gave a `source_version`.
        conditional: it demands a revision.

    Raises:
        Problem: it was refused, or something newer was accepted before.
    """
    if receipt.state == "refused":
        raise refusal(receipt)
    if receipt.state == "stale" and conditional:
        raise _changed(receipt)
    if receipt.state == "stale" and versioned:
        raise Problem("stale_version", receipt.detail or "a newer change was accepted before")
    return receipt


def refusal(receipt: Receipt) -> Problem:
    """The problem of a document that the producer refused. Pure."""
    code, detail = receipt.code or "invalid_request", receipt.detail or ""
    if code == "revision_changed":
        return _changed(receipt)
    if detail.startswith("op:"):
        told = "the producer is of an older version, which does not know this: upgrade it"
        return Problem("producer_unavailable", told)
    return problem_of_refusal(DocumentRefused(code, detail))


def problem_of_refusal(error: DocumentRefused) -> Problem:
    """The problem of a document that is refused. Pure."""
    code = "document_too_large" if error.code == "too_large" else error.code
    return Problem(code if code in KINDS else "invalid_request", error.reason)


def _changed(receipt: Receipt) -> Problem:
    current = receipt.document.revision if receipt.document else 0
    told = f"its revision is {current}" if current else "there is no such document"
    headers = {"ETag": f'"{current}"'} if current else {}
    return Problem("revision_changed", f"the document has changed: {told}", headers=headers)


async def _in_pieces(read: Read) -> AsyncIterator[bytes]:
    """The content in pieces; only the last is smaller."""
    data = bytearray()
    while some := await read(PIECE_BYTES - len(data)):
        data += some
        if len(data) == PIECE_BYTES:
            yield bytes(data)
            data.clear()
    if data:
        yield bytes(data)


def _inline(data: bytes) -> dict[str, str]:
    """The field for a small content. Pure."""
    fields = content_of(data)
    if len(encoded(fields)) < MOST_INLINE_BYTES:
        return fields
    return {"data_base64": piece_body("", data)["data_base64"]}  # a text of control characters


def _check_repeated(newest: Newest, body: Mapping[str, Any], first: int, joined: str) -> None:
    """Refuse a submission that may be another than the first with its key. Pure.

    Args:
        newest: change of its document, which came from the first one or after it.
        first: INTAKE sequence of the first one.
        joined: as in `Sending`.

    Raises:
        OtherRequest: it is another one.
        Problem: `idempotency_conflict`: it may be one.
    """
    change, batch = newest.readable, body.get("batch")
    if change is None or (body.get("source_version") is not None and change.intake != first):
        return  # a lower version is refused whatever came first
    if change.intake == first and not same(change, body, joined):
        raise OtherRequest("idempotency_conflict", OTHER_BEFORE)
    if change.intake != first and (batch is None or batch["id"] != change.batch.id):
        raise Problem("idempotency_conflict", CHANGED_SINCE)


def _receipt_by(newest: Newest, sequence: int) -> Receipt | None:
    """The receipt of a submission that is in the newest change, or must not follow it. Pure.

    Args:
        sequence: of the submission in INTAKE.
    """
    change = newest.readable
    if change is None:
        return None
    is_first = change.intake == sequence
    return Receipt(
        state="queued" if is_first else "stale",
        receipt=f"{change.document.doc_key}-{newest.sequence}",
        document=change.document.model_copy(update={"revision": newest.sequence}),
        detail=None if is_first else "a newer change was accepted before",
    )
