"""The only way into DOCS besides a repair: compare with the newest change, publish if it still is.

Two doors. A file is its own truth: after a lost compare-and-set it is read again. A submission is a
command with a number: its INTAKE sequence (or the publisher's `source_version`) decides whether
something newer was accepted already, for ever, not only for the duplicate window.
"""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import structlog

from services.producer.sources.port import Body, Given
from shared.domain.errors import ChangeLogConflict
from shared.domain.events import (
    WATCH,
    Batch,
    Content,
    Document,
    DocumentChanged,
    Inline,
    Linked,
    Reference,
    Stored,
)
from shared.domain.ids import doc_key
from shared.domain.topology import MAX_INLINE_BYTES
from shared.ports import ChangeLog, ContentStore, Newest, Now

log = structlog.get_logger()

RECENT_S: Final = 10.0
_CONTROL: Final = bytes(range(32))


async def place(data: bytes, bodies: ContentStore) -> Content:
    """Content for an event: inline while it is small in JSON too, else in the content store.

    Raises:
        BusUnavailable: the content store did not take it.
    """
    controls = len(data) - len(data.translate(None, _CONTROL))  # JSON writes each as six bytes
    if len(data) <= MAX_INLINE_BYTES and len(data) + 5 * controls <= 2 * MAX_INLINE_BYTES:
        return Inline.of(data)
    return Stored(hash=await bodies.put(data))


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """The outcome of a look at a file."""

    word: Literal["accepted", "unchanged", "absent"]
    """absent: it is not there, and DOCS knows."""
    revision: int
    body: Body | None
    """The content that DOCS holds now; None when the document is deleted there."""


ReadBody = Callable[[], Awaitable[Body | None]]
"""Read the file as it is now; None when it is not there."""


@dataclass(frozen=True, slots=True)
class AcceptFile:
    """Bring DOCS in step with one file."""

    source: str
    changes: ChangeLog
    bodies: ContentStore
    now: Now

    async def __call__(
        self, path: str, look: ReadBody, batch: Batch, *, known: bool, accepted: bool = False
    ) -> FileOutcome:
        """Publish the file's state unless the newest change says the same.

        Args:
            look: called again whenever another writer was faster.
            known: whether DOCS may hold the document; False only saves asking.
            accepted: DOCS surely held it once. Where it holds nothing now, it was lost, and the
                end of the document must be published all the same.

        Raises:
            TransientError: of `look` and of the bus; repeating is safe.
        """
        key = doc_key(self.source, path)
        newest = await self.changes.newest(self.source, key) if known else None
        while True:
            # read after the newest change was: an older content can then never follow a newer one
            body = await look()
            if word := says_the_same(newest, body, accepted=accepted):
                await self._keep(newest, body)
                return FileOutcome(word, newest.sequence if newest else 0, body)
            change = await self._change(path, newest, body, batch)
            expect = newest.sequence if newest else 0
            try:
                revision = await self.changes.append(
                    change, expect=expect, message_id=uuid.uuid4().hex
                )
            except ChangeLogConflict:
                newest = await self.changes.newest(self.source, key)
                continue
            return FileOutcome("accepted", revision, body)

    async def _keep(self, newest: Newest | None, body: Body | None) -> None:
        """Put a body again that is stored beside its change: it may be damaged, or gone."""
        change = newest.readable if newest else None
        if change and isinstance(change.content, Stored) and body and body.data is not None:
            await self.bodies.put(body.data)

    async def _change(
        self, path: str, newest: Newest | None, body: Body | None, batch: Batch
    ) -> DocumentChanged:
        now = self.now()
        given = body.given if body else Given()
        content: Content | None = None
        if body is not None and body.data is None:
            # the enricher refuses it by its size, with a reason that every status shows
            etag = f"{body.version.mtime_ns:x}-{body.version.size:x}"
            content = Linked(ref=Reference(url=body.url, etag=etag, size=body.version.size))
        elif body is not None and body.data is not None:
            content = await place(body.data, self.bodies)
        return DocumentChanged(
            document=Document(
                source=self.source,
                path=path,
                doc_key=doc_key(self.source, path),
                changed_at=changed_at(body.version.changed_ns if body else None, now),
            ),
            batch=batch,
            op="deleted" if body is None else "upserted",
            content=content,
            content_hash=body.content_hash if body else None,
            size=body.version.size if body else 0,
            media_type=given.media_type,
            title=given.title,
            metadata=given.metadata,
            static_score=given.static_score,
            is_active=given.is_active,
            intake=newest.change.intake if newest else 0,
            source_version=newest.change.source_version if newest else None,
            origin=WATCH,
        )


def says_the_same(
    newest: Newest | None, body: Body | None, *, accepted: bool = False
) -> Literal["unchanged", "absent"] | None:
    """Whether DOCS surely holds the file's state already; an unreadable change does not count.

    A repair with the same content counts: a plain change after it would take its place and leave
    the repair undone.
    """
    change = newest.readable if newest else None
    if newest and change is None:
        return None
    if body is None:
        is_over = not accepted if change is None else change.op == "deleted"
        return "absent" if is_over else None
    if change is None or change.op == "deleted":
        return None
    return "unchanged" if change.content_hash == body.content_hash else None


def changed_at(changed_ns: int | None, now: datetime) -> datetime:
    """When a change was made, if that was just now; else it counts from being seen.

    A file that was edited while no process watched, or moved here, has an old time stamp.
    """
    if changed_ns is None:
        return now
    try:
        made = datetime.fromtimestamp(changed_ns / 1e9, UTC)
    except (ValueError, OverflowError, OSError):  # a time stamp may be any number
        return now
    return made if timedelta(0) <= now - made <= timedelta(seconds=RECENT_S) else now
