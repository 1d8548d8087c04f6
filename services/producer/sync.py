"""Brings DOCS in step with some files: read, accept, remember, announce the batch."""

import asyncio
import secrets
import time
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from services.producer.accept import AcceptFile, FileOutcome
from services.producer.retry_queue import Blocked, Restless
from services.producer.sources.listing import NEVER_READ, Seen, pair_moves
from services.producer.sources.listing_store import KeptListing
from services.producer.sources.port import Body, DocumentSource, Unreadable, Unsettled, Version
from shared.batches.members import BatchBook, new_batch_id
from shared.domain.errors import BusUnavailable, InstepError, TransientError
from shared.domain.events import Batch
from shared.domain.ids import doc_key
from shared.observe.progress import Activity, Progress, SourceHealth
from shared.ports import Now

log = structlog.get_logger()

AT_ONCE: Final = 32
LARGE_BYTES: Final = 4 * 1024**2
LARGE_AT_ONCE: Final = 2
"""Keeps the files in memory below about twice the limit of a file."""
SAVE_EVERY_S: Final = 5.0
GROWS: Final = "is written without a pause: taken as it is, now and then"
RESTLESS: Final = "changes whenever it is read: not taken yet"


TOLD_AT_ONCE: Final = 20


@dataclass(slots=True)
class Problems:
    progress: Progress
    health: SourceHealth = field(default_factory=SourceHealth)
    _listed_wrong: set[str] = field(default_factory=set)
    """Paths whose problem a listing shows; reading them does not end it."""
    _noted: str = ""

    def note(self, text: str) -> None:
        """Log a message about the whole source, once."""
        if self._noted != text:
            self._noted = text
            self.progress.say(Activity("notice", "", text))

    def tell(self, path: str, problem: str | None) -> None:
        """Log the fault of a file, once; None: it has none."""
        if path in self._listed_wrong:
            return
        problem = problem and problem.removeprefix(f"{path}: ")
        if problem is None:
            self.health.problems.pop(path, None)
        elif self.health.problems.get(path) != problem:
            self.health.problems[path] = problem
            self.progress.say(Activity("notice", path, problem))

    def tell_of_listing(self, problems: Mapping[str, str], files: Container[str] | None) -> None:
        """Log the faults that a listing shows, once each, and of many only some.

        Args:
            files: all files of the source, when all of it was listed: the fault of any other path
                is over.
        """
        shown = self.health.problems
        if files is not None:
            self._listed_wrong &= problems.keys()
            for path in [p for p in shown if p not in problems and p not in files]:
                del shown[path]
        new = [path for path in sorted(problems) if shown.get(path) != problems[path]]
        self._listed_wrong |= problems.keys()
        shown |= problems
        for path in new[:TOLD_AT_ONCE]:
            self.progress.say(Activity("notice", path, problems[path]))
        if len(new) > TOLD_AT_ONCE:
            self.note(f"{len(new) - TOLD_AT_ONCE:,} more cannot be taken: instep status")


class Vanished(TransientError):
    """A file is gone, and the guard has not allowed its removal yet."""


@dataclass(slots=True)
class Synced:
    """The outcome of one call."""

    members: dict[str, int] = field(default_factory=dict)
    unchanged: int = 0
    removed: int = 0
    again: dict[str, TransientError] = field(default_factory=dict)
    """Paths that must be looked at again, and why."""
    gone: dict[str, str] = field(default_factory=dict)
    appeared: dict[str, str] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    """Paths whose document had ended already, as where another process has removed it."""


@dataclass(slots=True)
class Sync:
    """One source. Calls must not overlap."""

    source: DocumentSource
    listing: KeptListing
    accept: AcceptFile
    batches: BatchBook
    progress: Progress
    now: Now
    problems: Problems
    at_once: int = AT_ONCE
    """Documents that are read at once. Each takes a thread that all sources share."""
    _large: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LARGE_AT_ONCE))
    _unannounced: list[tuple[Batch, dict[str, int], int, int]] = field(default_factory=list)
    restless: Restless = field(default_factory=Restless)
    blocked: Blocked = field(default_factory=Blocked)
    _sure: set[str] = field(default_factory=set)
    """Paths whose entry is surely what DOCS took last from here. A process that died between the
    two, or a publish whose answer was lost, leaves an entry that is older."""
    _covered: bool = False
    """The listing, once written, has everything that was intended."""
    _saved_at: float = 0.0
    _keeping: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def health(self) -> SourceHealth:
        """The faults of the source."""
        return self.problems.health

    async def __call__(
        self,
        files: Mapping[str, Version | None],
        *,
        started_at: datetime,
        unchanged: int = 0,
        always: bool = False,
    ) -> Synced:
        """Look at each path and accept what it is now, also that it is gone.

        Args:
            files: path to the stat that it had when it was listed; None: its removal is allowed.
                A known file that was there and is not any more must be looked at again.
            unchanged: files of the same listing that need no look, for the report.
            always: announce the batch even when nothing, or a single file, has changed.
        """
        result = Synced()
        self._covered = False
        batch = Batch(
            id=new_batch_id(started_at, secrets.token_bytes(4)),
            count=len(files),
            source=self.accept.source,
            format=format_of(files),
            started_at=started_at,
        )
        self._saved_at = time.monotonic()
        try:
            await self.listing.intend([p for p in files if p not in self.listing.entries])
        except BusUnavailable as error:
            result.again = dict.fromkeys(files, error)
            return result
        rest = iter(files.items())
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(self.at_once, len(files))):
                tasks.create_task(self._take_some(rest, batch, result))
        moves = list(pair_moves(result.gone, result.appeared))
        if always or (result.members and batch.count > 1):
            unmoved = unchanged + result.unchanged
            self._unannounced.append((batch, result.members, unmoved, len(moves)))
        if not result.again:
            self._covered = True
        await self.keep()
        for old, new in moves:
            self.progress.say(Activity("moved", new, f"{old} -> {new}"))
        return result

    @property
    def behind(self) -> bool:
        """Whether the bus has not taken a change of the listing yet."""
        return self.listing.changed or self._covered or bool(self._unannounced)

    async def keep(self) -> None:
        """Write the changes of the listing; the next call writes those that the bus refuses now."""
        async with self._keeping:
            try:
                await self.listing.save()
                if self._covered:
                    await self.listing.forget_intended()
                    self._covered = False
                while self._unannounced:
                    await self.batches.announce(*self._unannounced[0])
                    self._unannounced.pop(0)
            except BusUnavailable as error:
                log.warning("listing_not_kept", source=self.accept.source, reason=str(error))
            self._saved_at = time.monotonic()

    async def _take_some(
        self, files: Iterator[tuple[str, Version | None]], batch: Batch, result: Synced
    ) -> None:
        me = asyncio.current_task()
        for path, stat in files:
            if me and me.cancelling():
                return  # a cancellation that the bus's client swallowed
            await self._try(path, stat, batch, result)
            if time.monotonic() - self._saved_at > SAVE_EVERY_S:
                self._saved_at = time.monotonic()  # one of the many that are here writes
                await self.keep()

    async def _try(self, path: str, stat: Version | None, batch: Batch, result: Synced) -> None:
        """Accept a file, or note why not: the fault of one never stops the others."""
        error: Exception | None = None
        large = stat is not None and stat.size >= LARGE_BYTES
        try:
            async with self._large if large else nullcontext():
                body = await self._take(path, batch, result, there=stat is not None)
            if body is not None and body.grows:
                error = Unsettled(GROWS)
        except Exception as failure:  # noqa: BLE001 - a fault in the way of one file, too
            error = failure
        self._note_error(path, error, result)

    def _note_error(self, path: str, error: Exception | None, result: Synced) -> None:
        problem = str(error) if error else None
        match error:
            case Unreadable():
                self.blocked.add({path})
            case Unsettled():
                result.again[path] = error
                self.restless.changed(path, time.monotonic())
                if self.restless.is_overdue(path):
                    self.problems.tell(path, GROWS if problem == GROWS else RESTLESS)
                return
            case TransientError():  # of the bus, or vanished
                result.again[path] = error
                if path not in self.listing.entries:
                    self.listing.put(path, NEVER_READ)  # it may be in DOCS all the same
                return
            case InstepError():
                log.warning("file_not_accepted", source=self.accept.source, reason=problem)
            case Exception():
                problem = f"a fault in instep: {type(error).__name__}"
                log.error("file_not_accepted", source=self.accept.source, reason=problem)
                if path not in self.listing.entries:
                    self.listing.put(path, NEVER_READ)
        self.restless.forget([path])
        if not isinstance(error, Unreadable):
            self.blocked.discard(path)
        self.problems.tell(path, problem)

    async def _take(self, path: str, batch: Batch, result: Synced, *, there: bool) -> Body | None:
        before = self.listing.entries.get(path)
        growing = self.restless.is_due(path, time.monotonic())

        async def read() -> Body | None:
            body = await asyncio.to_thread(self.source.read, path, growing=growing)
            if body is None and there and before is not None:
                # the guard has not allowed this removal: a disk may have gone since the look
                raise Vanished(f"{path}: vanished before it was read")
            return body

        if path in self._sure and before and _is_content_of(before, body := await read()):
            assert body is not None
            self.listing.put(path, _seen(body, before.revision))
            result.unchanged += 1
            return body
        self._sure.discard(path)
        accepted = before is not None and before.revision > 0
        outcome = await self.accept(path, read, batch, known=before is not None, accepted=accepted)
        self._sure.add(path)
        self._note(path, before, outcome, result)
        return outcome.body

    def _note(self, path: str, before: Seen | None, outcome: FileOutcome, result: Synced) -> None:
        if outcome.body is None:
            self.listing.remove(path)
        else:
            self.listing.put(path, _seen(outcome.body, outcome.revision))
        if outcome.word == "unchanged":
            result.unchanged += 1
        elif outcome.word == "absent":
            result.absent.add(path)
        elif outcome.word == "accepted":
            result.members[doc_key(self.accept.source, path)] = outcome.revision
            self.progress.changed += 1
            if outcome.body is None:
                result.removed += 1
                if before:
                    result.gone[path] = before.content_hash
            elif before is None:
                result.appeared[path] = outcome.body.content_hash


def _is_content_of(seen: Seen, body: Body | None) -> bool:
    return body is not None and body.content_hash == seen.content_hash


def _seen(body: Body, revision: int) -> Seen:
    whole = body.data is not None
    return Seen(body.version, body.read_at_ns, body.content_hash, revision, whole)


def format_of(paths: Iterable[str]) -> str:
    """The ending that all paths share, without its dot, else `mixed`."""
    endings = {path.rpartition(".")[2].lower() for path in paths}
    return endings.pop() if len(endings) == 1 else "mixed"
