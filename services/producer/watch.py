"""The watch of a source, which keeps DOCS in step: hints for speed, listings for truth.

Hints say where to look, never what happened: the watch looks at each path, and its state decides.
So a lost, doubled or late hint costs time and nothing else. A listing is compared at the start, at
intervals, and whenever the state does not fit; a caller that asks for a listing gets its result.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

import structlog

from services.producer.removals.guard import Guard
from services.producer.removals.held import Held, waiting
from services.producer.removals.moves import Moves
from services.producer.schedule import RETRY_S, Schedule, is_cancelled
from services.producer.sources.listing import Seen, compare, is_surely_unchanged, moved
from services.producer.sources.listing_store import Threshold
from services.producer.sources.port import Hints, Root, Scan, SourceUnavailable, Version
from services.producer.sources.rules import LeftOut
from services.producer.sync import Sync, Synced
from shared.domain.errors import BusUnavailable
from shared.domain.formats import in_words, most_common
from shared.observe.progress import Activity
from shared.ports import Selection
from shared.settings import WatchedSettings

Prepare = Callable[[], Awaitable[None]]
"""Work for the loop of the watch, right before it lists; may be repeated."""


@dataclass(frozen=True, slots=True)
class ListingResult:
    """The outcome of a whole listing."""

    files: int
    submitted: int
    """New and otherwise: accepted."""
    removed: int
    held: int
    """Removals that wait for a person."""


@dataclass(slots=True)
class Asked:
    """Callers that wait for a listing begun after their request."""

    _waiting: list[tuple["asyncio.Future[ListingResult]", Prepare | None]] = field(
        default_factory=list
    )

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, prepare: Prepare | None = None) -> "asyncio.Future[ListingResult]":
        asked: asyncio.Future[ListingResult] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, prepare))
        return asked

    def take(self) -> "Asked":
        """The callers that wait now; later ones wait for the listing after."""
        taken, self._waiting = Asked(self._waiting), []
        return taken

    def put_back(self, taken: "Asked") -> None:
        """The listing did not come about; it is tried again for them."""
        self._waiting = taken._waiting + self._waiting

    async def prepare(self) -> None:
        """Run the preparations; raises their errors."""
        for asked, prepare in self._waiting:
            if prepare is not None and not asked.done():
                await prepare()

    def answer(self, listed: ListingResult) -> None:
        for asked, _ in self._waiting:
            if not asked.done():
                asked.set_result(listed)

    def refuse(self, error: Exception) -> None:
        """Tell the waiting callers that there is no listing."""
        waiting, self._waiting = self._waiting, []
        for asked, _ in waiting:
            if not asked.done():
                asked.set_exception(error)


class Removals(NamedTuple):
    """The removals that are made now."""

    allowed: list[str]
    certain: frozenset[str]
    """Moves, and what a rule leaves out: no guard is asked."""


log = structlog.get_logger()

UNUSED_TOLD: Final = 5
BLOCKED_S: Final = 0.05
"""The shortest interval between tries of blocked files."""


class SourceWatch:
    """One source. Call `run` once; it ends when it is cancelled.

    Args:
        mend: called before the first listing when the kept one is empty or damaged.
    """

    def __init__(
        self, sync: Sync, settings: WatchedSettings, hints: Hints, mend: Prepare | None = None
    ) -> None:
        self.listed = asyncio.Event()
        """Set when the source has been listed, and its changes accepted, since the start."""
        threshold = Threshold(settings.hold_share, settings.hold_count)
        self.guard = Guard(sync.source.place, sync.listing, sync.progress, sync.now, threshold)
        self._sync, self._settings, self._mend = sync, settings, mend
        accept = sync.accept
        self._moves = Moves(accept.source, sync.source, accept.changes, accept.bodies)
        self._hints = hints
        self._when = Schedule(settings.settle)
        self._asked = Asked()
        self.loaded = False
        """What was kept of the folder was read."""
        self._root: Root | None = None
        """The root that was listed last, by this process or an earlier one."""
        self.kind = settings.kind
        self._doubtful = False
        self._out = 0
        """Documents of a hold that are out of the index since a person has released it."""
        self._found = 0
        self._kinds_told: set[str] = set()
        """Of files that are left out; with many kinds the most frequent ones change places."""
        self._awaited: set[str] | None = None
        """Files that were being written when the folder had been listed for the first time."""

    @property
    def held(self) -> Held | None:
        """Removals that wait for a person."""
        return self.guard.held

    async def run(self) -> None:
        """Raises only for bugs."""
        try:
            await self._load()
            await self._hints.start(self._heard)
            while not is_cancelled():
                self._when.begin()
                await self._turn()
                self._end_turn()
                if not is_cancelled():
                    await self._when.rest(min(self._retry_at(), self._sync.blocked.next_at))
        finally:
            await self._hints.stop()

    async def rescan(self, prepare: Prepare | None = None) -> ListingResult:
        """List the folder now; returns when its changes have been accepted.

        Args:
            prepare: called right before, while the watch accepts no other change of the folder.

        Raises:
            SourceUnavailable: it cannot be listed.
        """
        asked = self._asked.add(prepare)
        self._when.list_now()
        return await asked

    def is_exchanged(self, root: Root) -> bool:
        """Whether another folder has the name of the root that was listed last."""
        return self._root not in (None, root)

    async def explain(self, path: str) -> Selection:
        """What the rules leave out at a path. Raises SourceUnavailable, Unreadable."""
        return await asyncio.to_thread(self._sync.source.explain, path)

    async def release(self) -> int:
        """Remove the held documents, as a person decided.

        Every process that watches the source does so, and the first answer counts: so each tells
        all of the documents that are out, whichever process has removed them.

        Returns:
            Documents removed; 0 when all files are back, or many more are gone than were held.

        Raises:
            SourceUnavailable: the folder cannot be listed; nothing was removed.
            BusUnavailable: the bus has taken none of the removals.
        """
        self.guard.asked, self.guard.released, self._out = True, 0, 0
        try:
            await self.rescan()
        finally:
            self.guard.asked = False  # the release does not cover files that vanish later
        if self.guard.released and not self._out:
            raise BusUnavailable("the bus has taken none of the removals: look at instep removals")
        return self._out

    # -- the loop ----------------------------------------------------------------------------------

    async def _load(self) -> None:
        while not self.loaded and not is_cancelled():
            try:
                await self._sync.listing.load()
                await self.guard.load()
                self._root = await self._sync.listing.root()
                self._doubtful = self._sync.listing.doubtful
                self.loaded = True
            except BusUnavailable as error:
                log.warning("listing_not_loaded", reason=str(error))
                await asyncio.sleep(RETRY_S)

    async def _turn(self) -> None:
        now = time.monotonic()
        try:
            if now >= self._when.scan_at:
                await self._scan()
            elif paths := self._when.settling.take(now):
                await self._look_at(paths)
            elif now >= self._sync.blocked.next_at:
                await self._try_blocked()
            elif self._sync.behind:
                await self._sync.keep()
        except SourceUnavailable as error:
            self._when.list_in(RETRY_S)
            self._asked.refuse(error)
            if self._sync.health.error != str(error):
                self._sync.health.error = str(error)
                if self._awaited is None:
                    self._sync.progress.unlisted[self._sync.source.place] = error
                what = str(error).removeprefix(f"{self._sync.source.place}: ")
                self._say("notice", f"{what}; no document is removed; the next listing tries again")
        except BusUnavailable as error:
            self._when.list_in(RETRY_S)
            log.warning("listing_interrupted", reason=str(error))

    def _end_turn(self) -> None:
        self._sync.blocked.plan(time.monotonic(), max(BLOCKED_S, self._settings.poll))
        if self._awaited is not None and not self.listed.is_set():
            is_new, now = self._sync.restless.is_new, time.monotonic()
            self._awaited = {path for path in self._awaited if is_new(path, now)}
            if not self._awaited:
                self.listed.set()

    def _retry_at(self) -> float:
        waits = self._sync.behind or self._awaited
        return time.monotonic() + RETRY_S if waits else math.inf

    def _heard(self, names: Collection[str]) -> None:
        if self._when.heard(self._sync.source.meaning(names)):
            self._hints.anew = True

    async def _try_blocked(self) -> None:
        """List the folder when a blocked file or folder opens; that raises no event."""
        blocked = self._sync.blocked
        opens, folders = await asyncio.to_thread(self._sync.source.opened, set(blocked.paths))
        blocked.tried(time.monotonic(), self._settings.rescan)
        if opens:
            # events of a folder come only where it could be read when they were asked for
            self._hints.anew = self._hints.anew or folders
            self._when.list_now()

    # -- listings ----------------------------------------------------------------------------------

    async def _scan(self) -> None:
        asked = self._asked.take()
        self._when.listing()
        try:
            if self._doubtful and self._mend is not None:
                await self._mend()
            self._doubtful = False
            await asked.prepare()
            listed = await self._compare(first=self._awaited is None)
        except BaseException:
            self._asked.put_back(asked)
            raise
        if self._asked or self._hints.anew:
            self._when.list_now()  # that came while this listing was under way
        asked.answer(listed)

    async def _compare(self, *, first: bool) -> ListingResult:
        """List the whole folder, and accept its changes.

        Args:
            first: its end is announced though nothing has changed.
        """
        sync, listing, began = self._sync, self._sync.listing, time.monotonic()
        started_at = sync.now()
        root = await asyncio.to_thread(sync.source.identity)
        await self._hints.watch_the_same(root)
        scan = await asyncio.to_thread(sync.source.scan)
        comparison = await asyncio.to_thread(
            compare, listing.entries, scan.files, max_bytes=sync.source.max_bytes
        )
        took_s = time.monotonic() - began
        sync.problems.tell_of_listing(scan.problems, scan.files)
        sync.blocked.listed(scan.closed, scan.files)
        sync.progress.found += len(scan.files) - self._found
        self._found = len(scan.files)
        self._tell_left_out(most_common(scan.left_out))
        held = self.held
        gone = await self._allowed(comparison.vanished, scan, root)
        self._tell_rules(scan, comparison.suspects, first=first)
        alone = self._when.settling.is_left_alone
        suspects = {p: scan.files[p] for p in comparison.suspects if not alone(p)}
        await asyncio.sleep(self._when.settling.longest_rest(suspects.values(), time.time_ns()))
        result = await sync(
            suspects | dict.fromkeys(gone.allowed) | dict.fromkeys(sorted(gone.certain)),
            started_at=started_at,
            unchanged=comparison.unchanged,
            always=first,
        )
        self._after(result, gone.certain)
        self._count_released(held, gone.allowed, result)
        await self._remember(root)
        self._when.list_in(self._hints.interval(took_s, waits=self.held is not None))
        if first:
            self._first_ended(comparison.unchanged, result)
        submitted = len(result.members) - result.removed
        return ListingResult(len(scan.files), submitted, result.removed, waiting(self.held))

    def _tell_left_out(self, counts: dict[str, int]) -> None:
        self._sync.health.left_out = counts
        new = counts.keys() - self._kinds_told
        self._kinds_told |= new
        if new:  # a kind that is new, not each file
            listed = f"instep show {self._sync.accept.source}/"
            self._say("notice", f"left out: {in_words(counts)}; {listed} names the rules")

    def _tell_rules(self, scan: Scan, suspects: Collection[str], *, first: bool) -> None:
        """Tell which ignore files have changed, and which patterns of the settings do nothing."""
        rules, known = self._sync.source.rules, self._sync.listing.entries
        if (changed := scan.changed_rules) and not first:
            count = sum(path not in known for path in suspects)
            more = f" and {len(changed) - 3:,} more" if len(changed) > 3 else ""
            self._say(
                "notice", f"changed: {', '.join(changed[:3])}{more}; new documents: {count:,}"
            )
        new = [path for path in suspects if path not in known and rules.is_by_name(path)]
        if first and known and new and not any(map(rules.is_by_name, known)):
            some = f"{len(new):,} new in folders, such as {min(new)}"
            self._say("notice", f"a name in include counts at any depth: {some}")
        if first and (unused := rules.unused):
            some = ", ".join(unused[:UNUSED_TOLD])
            self._say("notice", f"include or exclude matches nothing here: {some}")

    def _tell_unwanted(self, unwanted: Mapping[str, LeftOut]) -> None:
        """Tell how many documents leave the index because a rule leaves out their files."""
        if unwanted:
            kinds = Counter(why.kind for why in unwanted.values())
            by = in_words(most_common(kinds))
            one = min(unwanted)
            self._say("notice", f"out of the index: {by}, such as {one}: {unwanted[one].why}")

    async def _allowed(self, vanished: Collection[str], scan: Scan, root: Root) -> Removals:
        """The removals that a whole listing makes: all that it shows, or none but the certain ones.

        A file that a rule leaves out is not missing. Where another folder has the name of the
        root, its ignore files are no decision about these documents.
        """
        gone, unseen = scan.judge(vanished)
        self._sync.restless.forget(gone)
        exchanged, now = self.is_exchanged(root), time.monotonic()
        unwanted = await self._leave_out(gone, exchanged=exchanged)
        missing = [path for path in gone if path not in unwanted]
        elsewhere = await self.moved(
            self._sync.listing.entries, missing, scan.files, exchanged=exchanged
        )
        lost = [path for path in missing if path not in elsewhere]
        allowed = await self.guard.allow(
            lost, whole=True, at=now, exchanged=exchanged, unseen=unseen, moved=elsewhere
        )
        if self.held is None:
            self._moves.done()
        return Removals(allowed, elsewhere | unwanted)

    async def unwanted(
        self, gone: Collection[str], *, exchanged: bool = False
    ) -> Mapping[str, LeftOut]:
        """Those of the vanished paths that a rule leaves out.

        Where they wait because another folder has the name of the root, its ignore files decide
        nothing.
        """
        held = self.held
        waiting = held.paths if held is not None and held.strict else frozenset[str]()
        asked = [] if exchanged else [path for path in gone if path not in waiting]
        return await asyncio.to_thread(self._sync.source.unwanted, asked) if asked else {}

    async def _leave_out(self, gone: Collection[str], *, exchanged: bool = False) -> frozenset[str]:
        """Those of the paths that a rule leaves out; that is told."""
        unwanted = await self.unwanted(gone, exchanged=exchanged)
        self._tell_unwanted(unwanted)
        await self.guard.forget(unwanted)
        return frozenset(unwanted)

    async def moved(
        self,
        entries: Mapping[str, Seen],
        gone: Collection[str],
        files: Mapping[str, Version],
        *,
        exchanged: bool = False,
    ) -> frozenset[str]:
        """Those of the vanished paths whose document is elsewhere; contents are compared only where
        the removal of the others would wait. Raises BusUnavailable.
        """
        found = moved(entries, gone, files)
        self._moves.pairs |= found
        kept = self.held.paths if self.held and self.held.kept else frozenset[str]()
        lost = [path for path in gone if path not in found]
        if not self.guard.would_hold(len(lost), time.monotonic(), exchanged=exchanged):
            return frozenset(found)
        since = datetime.fromisoformat(self.held.since) if self.held else self._sync.now()
        undecided = [path for path in lost if path not in kept]
        since_ns = int(since.timestamp() * 1e9)
        alike = await self._moves(undecided, entries, files, since_ns=since_ns)
        return alike.union(found)

    async def _remember(self, root: Root) -> None:
        """The folder was listed, and its holds are noted: this is the root from now on."""
        self._sync.health.error = ""
        self._sync.progress.unlisted.pop(self._sync.source.place, None)
        if self._root != root:
            await self._sync.listing.keep_root(root)
            self._root = root

    def _first_ended(self, unchanged: int, result: Synced) -> None:
        if self._sync.behind or any(isinstance(e, BusUnavailable) for e in result.again.values()):
            self._when.list_in(RETRY_S)
            return
        self._sync.progress.unchanged += unchanged + result.unchanged
        self._awaited = set(result.again)

    # -- events ------------------------------------------------------------------------------------

    async def _look_at(self, paths: Collection[str]) -> None:
        sync, started_at = self._sync, self._sync.now()
        before = len(sync.listing.entries)
        try:
            found = await asyncio.to_thread(sync.source.look_at, sync.listing.entries, paths)
        except SourceUnavailable:
            self._when.settling.again(paths, time.monotonic(), RETRY_S)
            raise
        if self.is_exchanged(found.root):  # a missing file may be in the other one
            self._when.settling.again(paths, time.monotonic(), RETRY_S)
            self._when.list_now()
            return
        sync.problems.tell_of_listing(found.closed, None)
        sync.blocked.add(found.blocked)
        for path, problem in found.problems.items():
            sync.problems.tell(path, problem)
        sync.restless.forget(found.vanished)
        await self.guard.back(found.present)
        suspects = self._suspects(found.present)
        pairs = moved(sync.listing.entries, set(found.vanished), suspects)
        self._moves.pairs |= pairs
        elsewhere = frozenset(pairs)
        unwanted = await self._leave_out(found.vanished)
        lost = sorted(set(found.vanished) - elsewhere - unwanted)
        gone = await self.guard.allow(lost, whole=False, at=time.monotonic())
        if lost and not gone:  # only a whole listing may hold: the events of a move may come later
            self._when.list_within(self._settings.settle)
        gone += sorted(elsewhere | unwanted)
        if files := suspects | dict.fromkeys(gone):
            self._after(await sync(files, started_at=started_at), elsewhere | unwanted)
        grown = len(sync.listing.entries) - before
        self._found += grown
        sync.progress.found += grown

    def _suspects(self, present: Mapping[str, Version]) -> dict[str, Version | None]:
        """The documents that are not surely as they were accepted."""
        known, most = self._sync.listing.entries, self._sync.source.max_bytes
        return {
            path: version
            for path, version in present.items()
            if not is_surely_unchanged(known.get(path), version, most)
        }

    def _after(self, result: Synced, certain: Collection[str]) -> None:
        removed = result.removed - len(result.gone.keys() & set(certain))
        before = len(result.absent.difference(certain))
        if removed or before:  # a decision makes none suspect
            self.guard.removed(removed, time.monotonic(), before=before)
        self._when.again(result.again, self._sync.restless)

    def _count_released(self, held: Held | None, allowed: Collection[str], result: Synced) -> None:
        """Count the documents of a hold that a listing has found, or brought, out of the index.

        Args:
            held: as it was before the listing.
        """
        if held is None or not (allowed or self.held is None):
            return  # nothing was held, or all of it still is
        made = result.gone.keys() & set(allowed)
        self._out += len(made | result.absent.intersection(held.paths.union(allowed)))

    def _say(self, kind: str, detail: str) -> None:
        self._sync.progress.say(Activity(kind, self._sync.source.place, detail))
