"""Many documents of one request: they are one batch, and each is accepted or refused alone."""

import asyncio
import contextlib
import errno
import hashlib
import json
import secrets
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Any, Final, Literal

from services.gateway.problems import Problem, cut, problem_of
from services.gateway.uploads.bodies import MAX_BODY_BYTES, MOST_DOCUMENTS
from services.gateway.uploads.lines import key_of, message_id
from services.gateway.uploads.models import (
    UploadedDocument,
    UploadError,
    UploadLine,
    UploadsAnswer,
)
from services.gateway.uploads.uploads import OtherRequest, Sending, Uploads, accepted
from shared.batches.members import new_batch_id
from shared.domain.errors import InstepError
from shared.domain.events import Receipt
from shared.domain.ids import content_hash
from shared.domain.submissions import encoded

AT_ONCE: Final = 32
"""Documents of one request on their way, each of up to 1 MB."""
MOST_ERRORS: Final = 1_000
_TAKEN: Final = b"+"
_REFUSED: Final = b"-"
"""Beginnings of the lines of a spool."""
AGAIN: Final = 503
"""The status of problems that pass by themselves: what follows is not even tried."""


@dataclass(frozen=True, slots=True)
class Where:
    """The place of a document in its request."""

    line: int | None = None
    file: str | None = None

    @property
    def name(self) -> str:
        return f"{self.line or ''}:{self.file or ''}"


Item = tuple[Where, dict[str, Any]]
"""A checked submission."""
Tell = Callable[[UploadLine], Awaitable[None]]
"""Hears what became of each document, when that is known."""


@dataclass(frozen=True, slots=True)
class ManyDocuments:
    """The checked submissions of one request.

    read: all of them, in order; as often as it is called.
    count: different documents among them that name no batch of their own.
    """

    read: Callable[[], Iterable[Item]]
    count: int


@dataclass
class UploadOutcome:
    """What became of the documents of a request so far."""

    accepted: int = 0
    refused: int = 0
    errors: list[UploadError] = field(default_factory=list)
    stopped: Problem | None = None
    """Why no more is sent: the bus or the producer takes none, or the key is another request's."""
    most_errors: int = MOST_ERRORS

    def refuse(self, where: Where, path: str, problem: Problem) -> None:
        self.refused += 1
        if len(self.errors) < self.most_errors:
            shown = cut(path, 1_024)
            self.errors.append(
                UploadError(
                    line=where.line,
                    file=where.file,
                    path=shown,
                    code=problem.code,
                    detail=problem.detail,
                )
            )
        if problem.kind.status == AGAIN and self.stopped is None:
            self.stopped = problem

    @property
    def status(self) -> Literal[202, 207, 422]:
        if self.refused:
            return 207 if self.accepted else 422
        return 202

    def answer(self, batch: str) -> UploadsAnswer:
        return UploadsAnswer(
            batch=batch,
            accepted=self.accepted,
            refused=self.refused,
            errors=tuple(sorted(self.errors, key=lambda e: (e.line or 0, e.file or ""))),
            truncated=self.refused > len(self.errors),
        )


class Spool:
    """Checked submissions of one request, in a file without a name: their number has to be known
    before the first is sent, and a body that ends early shall change nothing.

    Args:
        file: open for writing and reading.
    """

    def __init__(self, source: str, file: IO[bytes]) -> None:
        self._source, self._file = source, file
        self._keys: set[str] = set()
        self.size = self._bytes = 0

    @property
    def count(self) -> int:
        """Different documents that name no batch of their own."""
        return len(self._keys)

    def documents(self) -> ManyDocuments:
        """All of them, once no more come. Raises OSError: there is no room for them."""
        self._file.flush()
        return ManyDocuments(self.read, self.count)

    def add(self, where: Where, body: Mapping[str, Any]) -> None:
        """Raises Problem `request_too_large`."""
        if "batch" not in body:
            self._keys.add(key_of(self._source, body))
        self._write(_TAKEN, where, encoded(body))

    def refuse(self, where: Where, path: str, problem: Problem) -> None:
        """Keep why a document is refused. Raises Problem `request_too_large`."""
        self._write(_REFUSED, where, encoded(_refused(where, path, problem).model_dump()))

    def _write(self, kind: bytes, where: Where, value: bytes) -> None:
        self.size += 1
        if self.size > MOST_DOCUMENTS:
            told = f"more than {MOST_DOCUMENTS:,} documents in one request"
            raise Problem("request_too_large", told)
        head = json.dumps([where.line, where.file]).encode()
        self._bytes += self._file.write(kind + head + b"\t" + value + b"\n")
        if self._bytes > MAX_BODY_BYTES:  # rows say the names of their columns again
            told = f"the documents have more than {MAX_BODY_BYTES:,} bytes as lines of JSON"
            raise Problem("request_too_large", told)

    def read(self) -> Iterable[Item]:
        """All of them, in order."""
        for head, body in self._read(_TAKEN):
            yield Where(*json.loads(head)), json.loads(body)

    def refusals(self) -> Iterable[UploadLine]:
        """The refused ones, in order."""
        for _, line in self._read(_REFUSED):
            yield UploadLine.model_validate(json.loads(line))

    def _read(self, kind: bytes) -> Iterable[tuple[bytes, bytes]]:
        self._file.seek(0)
        for line in self._file:
            if line.startswith(kind):
                head, _, value = line[1:].partition(b"\t")
                yield head, value


@contextlib.contextmanager
def spooled(source: str) -> Iterator[Spool]:
    """A spool in a temporary file. Raises Problem `unavailable`: there is no room for it."""
    try:
        with tempfile.TemporaryFile() as file:
            yield Spool(source, file)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        told = "the gateway has no room for a temporary file; nothing was sent"
        raise Problem("unavailable", told) from None


async def send(
    uploads: Uploads,
    source: str,
    many: ManyDocuments,
    outcome: UploadOutcome,
    key: str | None,
    tell: Tell | None = None,
) -> str:
    """Send all submissions as one batch, but those that name their own; one document's in order.

    With a key nothing is sent beside another one before one is accepted: the first that shows that
    the key belongs to another request ends this one.

    Args:
        outcome: of those that were refused before; it gets the rest.
        key: the Idempotency-Key of the request.

    Returns:
        The id of the batch; with a key the same whenever the request is. Empty: all name their own.
    """
    now = datetime.now(UTC)
    made = new_batch_id(now, secrets.token_bytes(4)) if key is None else await _batch_of(key, many)
    batch = {"id": made, "count": many.count, "source": source, "started_at": now.isoformat()}
    running: dict[str, asyncio.Task[None]] = {}
    request = Sending()

    async def one(where: Where, body: Mapping[str, Any]) -> None:
        path, receipt = str(body["path"]), None
        try:
            if outcome.stopped is not None:
                raise _not_sent(outcome.stopped)
            name = None if key is None else message_id(source, key, _part(where, body))
            receipt = await uploads.once(source, {"batch": batch, **body}, name, request)
            accepted(
                receipt,
                conditional="if_revision" in body,
                versioned=body.get("source_version") is not None,
            )
        except InstepError as error:
            problem = problem_of(error)
            outcome.refuse(where, path, problem)
            if isinstance(error, OtherRequest):
                outcome.stopped = error
            line = _refused(where, path, problem, receipt)
        else:
            outcome.accepted += 1
            line = _taken(where, path, receipt).model_copy(
                update={"batch": str({"batch": batch, **body}["batch"]["id"])}
            )
        if tell is not None:
            await tell(line)

    try:
        for where, body in many.read():
            doc = key_of(source, body)
            if before := running.get(doc):
                await before
            await _place(running, AT_ONCE if key is None or outcome.accepted else 1)
            running[doc] = asyncio.create_task(one(where, body))
        await asyncio.gather(*running.values())
    finally:
        for task in running.values():
            task.cancel()
    return made if many.count else ""


async def _place(running: dict[str, asyncio.Task[None]], most: int) -> None:
    """Wait until fewer run; those that are done leave."""
    if len(running) >= most:
        await asyncio.wait(running.values(), return_when=asyncio.FIRST_COMPLETED)
    for done in [name for name, task in running.items() if task.done()]:
        running.pop(done).result()


def _part(where: Where, body: Mapping[str, Any]) -> str:
    """The name of a document in the messages of its request. Pure.

    The batch of a request tells all that it says, but one that a line names says nothing of it.
    """
    return f"{where.name}:{content_hash(encoded(body))}" if "batch" in body else where.name


def _not_sent(stopped: Problem) -> Problem:
    """The problem of a document after one that was not taken. Pure."""
    return Problem(stopped.code, f"not sent, as one before it was not taken: {stopped.detail}")


def _taken(where: Where, path: str, receipt: Receipt) -> UploadLine:
    document = receipt.document
    return UploadLine(
        line=where.line,
        file=where.file,
        path=cut(path, 1_024),
        status=202,
        state=receipt.state,
        receipt=receipt.receipt,
        document=UploadedDocument(**document.model_dump()) if document else None,
        detail=receipt.detail,
    )


def _refused(
    where: Where, path: str, problem: Problem, receipt: Receipt | None = None
) -> UploadLine:
    """The line of a refused document; a stale one has the receipt of what is newer."""
    stale = receipt if receipt is not None and receipt.state == "stale" else None
    taken = _taken(where, path, stale or Receipt(state="refused"))
    return taken.model_copy(
        update={
            "status": problem.kind.status,
            "state": "stale" if stale else None,
            "code": problem.code,
            "detail": problem.detail,
        }
    )


async def _batch_of(key: str, many: ManyDocuments) -> str:
    """The id of the batch of a request with a key.

    A repeated request goes on with its batch. Another one must not: its number differs.
    """
    digest = hashlib.sha256(json.dumps(key).encode())
    for where, body in many.read():
        digest.update(b"\n" + where.name.encode("utf-8", "backslashreplace") + encoded(body))
        await asyncio.sleep(0)  # what waits in a file must not hold the event loop
    return f"k_{digest.hexdigest()[:40]}"
