"""P7 for one source: removals are made, or all of them wait for a person."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from services.producer.removals.held import Held, about, left_of, missing, waiting
from services.producer.sources.listing_store import KeptListing, Lately, Threshold
from shared.observe.progress import Activity, Progress
from shared.ports import Now


@dataclass(slots=True)
class Guard:
    """Knows the held removals, and a person's decisions about them.

    Held removals stay held, however large the rest grows, until a person releases them or their
    files are seen again: a path that is there leaves the hold at once. Moments are of one monotonic
    clock.
    """

    root: str
    listing: KeptListing
    progress: Progress
    now: Now
    threshold: Threshold
    held: Held | None = None
    """Removals that wait, also those that a person has decided to keep."""
    asked: bool = False
    """A person waits for the release: the next whole listing may make it."""
    released: int = 0
    """Removals that the last release let through."""
    _lately: Lately = field(default_factory=Lately)
    _forgiven: int = 0
    """Removals that a person allowed: they do not make the next ones suspect."""
    _deciding: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def load(self) -> None:
        """Take over the held removals of the last process. Raises BusUnavailable."""
        self._set(await self.listing.held())

    async def allow(
        self,
        gone: Collection[str],
        *,
        whole: bool,
        at: float,
        exchanged: bool = False,
        unseen: Collection[str] = (),
        moved: Collection[str] = (),
    ) -> list[str]:
        """The removals that are made now: all of them, or none. Raises BusUnavailable.

        Args:
            whole: `gone` is all that is missing from the source, not only from a part of it.
            exchanged: another folder has the name of the root, as when a disk is not mounted.
            unseen: paths that a whole listing could not look for.
            moved: vanished paths whose document is elsewhere; they are not in `gone`, and may go.
        """
        async with self._deciding:
            if whole and self.held is not None and self._was_a_move(gone, unseen, at, moved):
                await self._end(self.held, "they moved, and few others")
            if whole and self.held is not None:
                return await self._still(self.held, gone, unseen, exchanged, moved)
            if whole:
                return await self._judge(gone, at, exchanged, moved)
            may = self._may_remove(len(gone), at, len(self.listing.entries), exchanged)
            return list(gone) if may and self.held is None else []  # a listing counts them

    def forecast(
        self,
        gone: Collection[str],
        unseen: Collection[str] = (),
        *,
        known: int,
        at: float,
        exchanged: bool,
    ) -> tuple[int, int]:
        """How many removals of a whole listing would be made, and how many would wait.

        Nothing is noted.
        """
        if self.held is None:
            may = self._may_remove(len(gone), at, known, exchanged)
            return (len(gone), 0) if may else (0, len(gone))
        is_kept = self.held.kept and self.held.paths.issuperset(gone)
        return 0, 0 if is_kept else len(missing(self.held, gone, unseen))

    async def keep(self) -> int:
        """Keep the held documents, and ask no more; returns how many. Raises BusUnavailable."""
        async with self._deciding:
            if self.held is None:
                return 0
            await self._hold(replace(self.held, kept=True, released=False))
            return self.held.vanished

    async def back(self, seen: Collection[str]) -> None:
        """Take files that are there out of the hold: no decision covers their next removal.

        Raises BusUnavailable; then the next listing does it.
        """
        async with self._deciding:
            if self.held is None or not self.held.paths.intersection(seen):
                return
            rest = self.held.paths.difference(seen)
            if rest:
                await self._hold(left_of(self.held, rest))
            else:
                await self._end(self.held)

    async def forget(self, unwanted: Collection[str]) -> None:
        """Take paths out of the hold that a rule leaves out by now: that is the decision.

        Raises BusUnavailable.
        """
        async with self._deciding:
            if self.held is not None and self.held.paths.intersection(unwanted):
                rest = self.held.paths.difference(unwanted)
                await self._hold(left_of(self.held, rest) if rest else None)

    def removed(self, count: int, at: float, *, before: int = 0) -> None:
        """Note that so many documents have been removed; moved ones do not count.

        Args:
            before: allowed removals beside these that another process had made already.
        """
        forgiven = min(count, self._forgiven)
        self._forgiven = max(0, self._forgiven - forgiven - before)
        if count > forgiven:
            self._lately.add(count - forgiven, at)

    def would_hold(self, gone: int, at: float, *, exchanged: bool) -> bool:
        """Whether so many removals of a whole listing would wait, or some do."""
        known = len(self.listing.entries)
        return self.held is not None or not self._may_remove(gone, at, known, exchanged)

    def _was_a_move(
        self, gone: Collection[str], unseen: Collection[str], at: float, moved: Collection[str]
    ) -> bool:
        """Whether nothing would have been held, had the moves been known from the beginning."""
        held = self.held
        if held is None or held.kept or held.strict or unseen:
            return False
        if not held.paths.intersection(moved):
            return False
        back = held.back + len(held.paths.difference(gone, moved))
        known = self._known(moved)
        return self._may_remove(len(gone) + back, at, known, exchanged=False)

    async def _still(
        self,
        held: Held,
        gone: Collection[str],
        unseen: Collection[str],
        exchanged: bool,
        moved: Collection[str],
    ) -> list[str]:
        """The removals that are made beside a hold: those that a person released."""
        known, self._forgiven = self._known(moved), 0
        paths = missing(held, gone, unseen)
        if not paths:
            is_moved = held.paths and held.paths.issubset(moved)
            await self._end(held, "they moved" if is_moved else "")
            return []
        back = held.back + len(held.paths.difference(paths, moved))
        shown = len(held.paths.intersection(gone))
        asked = self.asked or held.released
        if asked and gone and self._strict(exchanged).may_release(shown, len(gone), known):
            rest = paths.difference(gone)  # the listing could not look for these
            left = about(held.since, rest, known - len(gone), strict=held.strict)
            await self._hold(replace(left, back=back) if rest else None)
            self.asked, self.released, self._forgiven = False, len(gone), len(gone)
            return list(gone)
        kept = held.kept and held.paths.issuperset(gone)  # without a decision: ask
        now = about(held.since, paths, known, kept=kept, strict=held.strict)
        await self._hold(replace(now, back=back))
        return []

    def _known(self, moved: Collection[str]) -> int:
        """Documents of the source; of a moved one, the listing may have both places by now."""
        return len(self.listing.entries) - len(moved)

    def _may_remove(self, gone: int, at: float, known: int, exchanged: bool) -> bool:
        return self._strict(exchanged).may_remove(gone, self._lately.count(at), known)

    def _strict(self, exchanged: bool) -> Threshold:
        # few documents are no excuse for believing the empty folder below a missing mount
        return replace(self.threshold, count=1) if exchanged else self.threshold

    async def _judge(
        self, gone: Collection[str], at: float, exchanged: bool, moved: Collection[str]
    ) -> list[str]:
        known, self._forgiven = self._known(moved), 0
        if not gone or self._may_remove(len(gone), at, known, exchanged):
            return list(gone)
        await self._hold(about(self.now().isoformat(), gone, known, strict=exchanged))
        return []

    async def _end(self, held: Held, moved: str = "") -> None:
        await self._hold(None)
        back = f"the vanished files are back: {held.vanished:,} stay"
        self._say("notice", f"no removal waits any more: {moved}" if moved else back)

    async def _hold(self, held: Held | None) -> None:
        before = self.held
        if held == before:
            return
        await self.listing.hold(held)
        self._set(held)
        if held and waiting(held) and not waiting(before):
            many = f"{held.vanished:,} of {held.of:,}"
            self._say("held", f"{many} vanished, nothing is removed: instep removals")

    def _set(self, held: Held | None) -> None:
        self.progress.held += waiting(held) - waiting(self.held)
        self.held = held

    def _say(self, kind: str, detail: str) -> None:
        self.progress.say(Activity(kind, self.root, detail))
