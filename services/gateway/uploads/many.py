"""Many documents of one request: they are one batch, and each is accepted or refused alone."""

import asyncio
import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Any, Final, Literal

from services.gateway.problems import Problem, cut, problem_of
from services.gateway.uploads.lines import key_of, message_id
from services.gateway.uploads.models import UploadError, UploadsAnswer
from services.gateway.uploads.uploads import OtherRequest, Sending, Uploads, accepted
from shared.batches.members import new_batch_id
from shared.domain.errors import InstepError
from shared.domain.submissions import encoded

AT_ONCE: Final = 32
"""Documents of one request on their way, each of up to 1 MB."""
MOST_ERRORS: Final = 1_000
MOST_DOCUMENTS: Final = 200_000
"""Documents of one request: their keys are in memory."""
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


@dataclass(frozen=True, slots=True)
class ManyDocuments:
    """The checked submissions of one request.

    read: all of them, in order; as often as it is called.
    count: different documents among them.
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

    def refuse(self, where: Where, path: str, problem: Problem) -> None:
        self.refused += 1
        if len(self.errors) < MOST_ERRORS:
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
        self.size = 0

    @property
    def count(self) -> int:
        """Different documents."""
        return len(self._keys)

    def add(self, where: Where, body: Mapping[str, Any]) -> None:
        """Raises Problem `request_too_large`."""
        self.size += 1
        if self.size > MOST_DOCUMENTS:
            told = f"more than {MOST_DOCUMENTS:,} documents in one request"
            raise Problem("request_too_large", told)
        self._keys.add(key_of(self._source, body))
        head = json.dumps([where.line, where.file]).encode()
        self._file.write(head + b"\t" + encoded(body) + b"\n")

    def read(self) -> Iterable[Item]:
        """All of them, in order."""
        self._file.seek(0)
        for line in self._file:
            head, _, body = line.partition(b"\t")
            yield Where(*json.loads(head)), json.loads(body)


async def send(
    uploads: Uploads, source: str, many: ManyDocuments, outcome: UploadOutcome, key: str | None
) -> str:
    """Send all submissions as one batch; one document's in their order.

    With a key nothing is sent beside another one before one is accepted: the first that shows that
    the key belongs to another request ends this one.

    Args:
        outcome: of those that were refused before; it gets the rest.
        key: the Idempotency-Key of the request.

    Returns:
        The id of the batch; with a key the same whenever the request is.
    """
    now = datetime.now(UTC)
    made = new_batch_id(now, secrets.token_bytes(4)) if key is None else _batch_of(key, many)
    batch = {"id": made, "count": many.count, "source": source, "started_at": now.isoformat()}
    running: dict[str, asyncio.Task[None]] = {}
    request = Sending()

    async def one(where: Where, body: Mapping[str, Any]) -> None:
        if outcome.stopped is not None:
            outcome.refuse(where, str(body["path"]), outcome.stopped)
            return
        name = message_id(source, key, where.name) if key is not None else None
        try:
            accepted(
                await uploads.once(source, {**body, "batch": batch}, name, request),
                conditional="if_revision" in body,
                versioned=body.get("source_version") is not None,
            )
        except InstepError as error:
            outcome.refuse(where, str(body["path"]), problem_of(error))
            if isinstance(error, OtherRequest):
                outcome.stopped = error
        else:
            outcome.accepted += 1

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
    return made


async def _place(running: dict[str, asyncio.Task[None]], most: int) -> None:
    """Wait until fewer run; those that are done leave."""
    if len(running) >= most:
        await asyncio.wait(running.values(), return_when=asyncio.FIRST_COMPLETED)
    for done in [name for name, task in running.items() if task.done()]:
        running.pop(done).result()


def _batch_of(key: str, many: ManyDocuments) -> str:
    """The id of the batch of a request with a key. Pure.

    A repeated request goes on with its batch. Another one must not: its number differs.
    """
    digest = hashlib.sha256(json.dumps(key).encode())
    for where, body in many.read():
        digest.update(b"\n" + where.name.encode("utf-8", "backslashreplace") + encoded(body))
    return f"k_{digest.hexdigest()[:40]}"
