"""Keep DOCS in step with a watched folder: events for speed, listings for truth.

Events say where to look, never what happened: each path is looked at, and what is found decides.
So a lost, doubled or late event costs time and nothing else. A listing is compared at the start, at
intervals, and whenever something does not fit.
"""

import asyncio
import contextlib
import time
from collections.abc import Collection
from typing import Final

import structlog

from services.producer.asking import Asked, Listed, Prepare
from services.producer.folder import Scan, SourceUnavailable
from services.producer.guard import Guard
from services.producer.hearing import Hearing
from services.producer.kept import Held, Root, Threshold, waiting
from services.producer.listing import Stat, compare, moved
from services.producer.looking import look_at
from services.producer.notices import Notices
from services.producer.settling import Settling
from services.producer.sync import Sync, Synced
from shared.errors import BusUnavailable
from shared.progress import Activity
from shared.settings import Source

log = structlog.get_logger()

PEEKS: Final = 64
"""Files of one notice whose age is looked at, in the event loop; others wait the whole time."""
RETRY_S: Final = 1.0


class FolderWatch:
    """One source. Call `run` once; it ends when it is cancelled.

    Args:
        notices: None to look at intervals only.
        mend: called before the first listing when the kept one is empty or damaged.
    """

    def __init__(
        self, sync: Sync, settings: Source, notices: Notices | None, mend: Prepare | None = None
    ) -> None:
        self.listed = asyncio.Event()
        """Set when the folder has been listed, and what differed accepted, since the start."""
        threshold = Threshold(settings.hold_share, settings.hold_count)
        self.guard = Guard(str(sync.folder.root), sync.listing, sync.progress, sync.now, threshold)
        self._sync, self._settings, self._mend = sync, settings, mend
        self._hearing = Hearing(settings, notices, sync.note)
        self._settling = Settling(settings.settle)
        self._wake = asyncio.Event()
        self._asked = Asked()
        self._loaded = False
        self._root: Root | None = None
        """The root that was listed last, by this process or an earlier one."""
        self._doubtful = False
        self._found = 0
        self._scan_at = 0.0

    @property
    def held(self) -> Held | None:
        """Removals that wait for a person."""
        return self.guard.held

    async def run(self) -> None:
        """Raises only what is a bug."""
        try:
            await self._load()
            await self._hearing.start(self._sync.folder.root, self._heard)
            while not _is_cancelled():
                self._wake.clear()
                await self._turn()
                if not _is_cancelled():
                    await self._rest()
        finally:
            await self._hearing.stop()

    async def rescan(self, prepare: Prepare | None = None) -> Listed:
        """List the folder now; returns when what differs has been accepted.

        Args:
            prepare: called right before, while nothing else is accepted from the folder.

        Raises:
            SourceUnavailable: it cannot be listed.
        """
        asked = self._asked.add(prepare)
        self._scan_at = 0.0
        self._wake.set()
        return await asked

    def is_exchanged(self, root: Root) -> bool:
        """Whether another folder has the name of the root that was listed last."""
        return self._root not in (None, root)

    async def release(self) -> int:
        """Remove what is held: a person said so.

        Returns:
            Documents removed; 0 when nothing is gone any more, or much more than was held.

        Raises:
            SourceUnavailable: the folder cannot be listed; nothing was removed.
        """
        self.guard.asked, self.guard.released = True, 0
        try:
            await self.rescan()
        finally:
            self.guard.asked = False  # what vanishes later was not meant
        return self.guard.released

    # -- the loop ----------------------------------------------------------------------------------

    async def _load(self) -> None:
        while not self._loaded and not _is_cancelled():
            try:
                await self._sync.listing.load()
                await self.guard.load()
                self._root = await self._sync.listing.root()
                self._doubtful = self._sync.listing.doubtful
                self._loaded = True
            except BusUnavailable as error:
                log.warning("listing_not_loaded", reason=str(error))
                await asyncio.sleep(RETRY_S)

    async def _turn(self) -> None:
        now = time.monotonic()
        try:
            if now >= self._scan_at:
                await self._scan()
            elif paths := self._settling.take(now):
                await self._look_at(paths)
            elif self._sync.behind:
                await self._sync.keep()
        except SourceUnavailable as error:
            self._scan_at = time.monotonic() + RETRY_S
            self._asked.refuse(error)
            if self._sync.health.error != str(error):
                self._sync.health.error = str(error)
                self._say("notice", f"{error}; nothing is removed, it is tried again")
        except BusUnavailable as error:
            self._scan_at = time.monotonic() + RETRY_S
            log.warning("listing_interrupted", reason=str(error))

    async def _rest(self) -> None:
        until = min(self._scan_at, self._settling.next_due())
        if self._sync.behind:
            until = min(until, time.monotonic() + RETRY_S)
        # not wait_for: before Python 3.12 it can swallow a cancellation
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await self._wake.wait()

    def _heard(self, names: Collection[str]) -> None:
        folder, now = self._sync.folder, time.monotonic()
        paths = {path for name in names if (path := folder.path_of(name))}
        if any(folder.is_root(name) for name in names):
            self._hearing.exchanged, self._scan_at = True, 0.0
            self._wake.set()
        if paths:
            files = {p: folder.peek(p) if n < PEEKS else None for n, p in enumerate(paths)}
            self._settling.touch(files, now, time.time_ns())
            self._wake.set()

    # -- listings ----------------------------------------------------------------------------------

    async def _scan(self) -> None:
        asked = self._asked.take()
        try:
            if self._doubtful and self._mend is not None:
                await self._mend()
            self._doubtful = False
            await asked.prepare()
            listed = await self._compare(first=not self.listed.is_set())
        except BaseException:
            self._asked.put_back(asked)
            raise
        if self._asked or self._hearing.exchanged:
            self._scan_at = 0.0  # that came while this listing was under way
        asked.answer(listed)

    async def _compare(self, *, first: bool) -> Listed:
        """List the whole folder, and accept what differs.

        Args:
            first: its end is announced though nothing has changed.
        """
        sync, listing, began = self._sync, self._sync.listing, time.monotonic()
        started_at = sync.now()
        root = await asyncio.to_thread(sync.folder.identity)
        await self._hearing.watch_the_same(root)
        scan = await asyncio.to_thread(sync.folder.scan)
        comparison = await asyncio.to_thread(
            compare, listing.entries, scan.files, max_bytes=sync.folder.max_bytes
        )
        took_s = time.monotonic() - began
        sync.tell_of_listing(scan.problems, scan.files)
        sync.progress.found += len(scan.files) - self._found
        self._found = len(scan.files)
        gone = await self._allowed(comparison.vanished, scan, root)
        suspects: dict[str, Stat | None] = {path: scan.files[path] for path in comparison.suspects}
        await asyncio.sleep(self._settling.longest_rest(suspects.values(), time.time_ns()))
        result = await sync(
            suspects | dict.fromkeys(gone),
            started_at=started_at,
            unchanged=comparison.unchanged,
            always=first,
        )
        self._after(result)
        await self._remember(root)
        waits = self.held is not None and not self.held.kept
        self._scan_at = time.monotonic() + self._hearing.interval(took_s, waits=waits)
        if first:
            self._first_ended(comparison.unchanged, result)
        submitted = len(result.members) - result.removed
        return Listed(len(scan.files), submitted, result.removed, waiting(self.held))

    async def _allowed(self, vanished: Collection[str], scan: Scan, root: Root) -> list[str]:
        """The removals that a whole listing makes: all that it shows, or none but moves."""
        gone = [path for path in vanished if scan.knows(path)]
        elsewhere = moved(self._sync.listing.entries, gone, scan.files)
        lost = [path for path in gone if path not in elsewhere]
        exchanged, now = self.is_exchanged(root), time.monotonic()
        allowed = await self.guard.allow(lost, whole=True, at=now, exchanged=exchanged)
        return allowed + sorted(elsewhere)

    async def _remember(self, root: Root) -> None:
        """The folder was listed, and what waits is noted: this is the root from now on."""
        self._sync.health.error = ""
        if self._root != root:
            await self._sync.listing.keep_root(root)
            self._root = root

    def _first_ended(self, unchanged: int, result: Synced) -> None:
        if self._sync.behind or any(isinstance(e, BusUnavailable) for e in result.again.values()):
            self._scan_at = time.monotonic() + RETRY_S
            return
        self._sync.progress.unchanged += unchanged + result.unchanged
        self.listed.set()

    # -- events ------------------------------------------------------------------------------------

    async def _look_at(self, paths: Collection[str]) -> None:
        sync, started_at = self._sync, self._sync.now()
        before = len(sync.listing.entries)
        try:
            found = await asyncio.to_thread(look_at, sync.folder, sync.listing.entries, paths)
        except SourceUnavailable:
            self._settling.again(paths, time.monotonic(), RETRY_S)
            raise
        if self.is_exchanged(found.root):  # what is not there may be in the other one
            self._settling.again(paths, time.monotonic(), RETRY_S)
            self._scan_at = 0.0
            return
        sync.tell_of_listing(found.closed, None)
        for path, problem in found.problems.items():
            sync.tell(path, problem)
        elsewhere = moved(sync.listing.entries, set(found.vanished), found.suspects)
        lost = sorted(set(found.vanished) - elsewhere)
        gone = await self.guard.allow(lost, whole=False, at=time.monotonic())
        if lost and not gone:  # only a whole listing may hold: what moved may be heard of later
            self._scan_at = min(self._scan_at, time.monotonic() + self._settings.settle)
        gone += sorted(elsewhere)
        if files := found.suspects | dict.fromkeys(gone):
            self._after(await sync(files, started_at=started_at))
        grown = len(sync.listing.entries) - before
        self._found += grown
        sync.progress.found += grown

    def _after(self, result: Synced) -> None:
        now = time.monotonic()
        if result.removed:
            self.guard.removed(result.removed, now)
        for path, error in result.again.items():
            wait = RETRY_S if isinstance(error, BusUnavailable) else self._settings.settle
            self._settling.again([path], now, wait)

    def _say(self, kind: str, detail: str) -> None:
        self._sync.progress.say(Activity(kind, str(self._sync.folder.root), detail))


def _is_cancelled() -> bool:
    """Whether this task was cancelled. Before Python 3.12 `asyncio.wait_for`, which the client of
    the bus uses, may swallow that and return."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
