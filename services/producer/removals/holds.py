"""Removals that wait, of all folders that this process watches."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from services.producer.removals.held import Held, HeldNote, noted_sources
from services.producer.watch import SourceWatch
from shared.domain.errors import TransientError
from shared.ports import Hold, Shelf

Forget = Callable[[str], Awaitable[int]]
"""As `shared.ports.Holds.forget`."""


@dataclass(frozen=True, slots=True)
class WatchedHolds:
    """Implements `shared.ports.Holds`. `watches`: by source."""

    watches: Mapping[str, SourceWatch]
    forgetting: Forget | None = None
    _releasing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def list(self) -> Sequence[Hold]:
        held = {source: watch.held for source, watch in sorted(self.watches.items())}
        return [hold_of(source, one) for source, one in held.items() if one is not None]

    async def release(self, source: str) -> int:
        watch = self.watches.get(source)
        async with self._releasing:
            if watch is None or (watch.loaded and watch.held is None):
                return 0
            return await watch.release()  # a process that has just begun reads first what is held

    async def keep(self, source: str) -> int:
        watch = self.watches.get(source)
        return 0 if watch is None else await watch.guard.keep()

    async def forget(self, source: str) -> int:
        return 0 if self.forgetting is None else await self.forgetting(source)


@dataclass(frozen=True, slots=True)
class NotedHolds:
    """Implements `shared.ports.Holds` where no process watches: the next one finds the decision.

    `shelf`: the bucket of the listings.
    """

    shelf: Shelf
    forgetting: Forget | None = None

    async def list(self) -> Sequence[Hold]:
        names = noted_sources(await self.shelf.keys())
        held = {source: await HeldNote(self.shelf, source).load() for source in names}
        return [hold_of(source, one) for source, one in held.items() if one is not None]

    async def release(self, source: str) -> int:
        return await self._decide(source, kept=False)

    async def keep(self, source: str) -> int:
        return await self._decide(source, kept=True)

    async def forget(self, source: str) -> int:
        return 0 if self.forgetting is None else await self.forgetting(source)

    async def _decide(self, source: str, *, kept: bool) -> int:
        """Raises TransientError: the paths of the decision cannot be read."""
        note = HeldNote(self.shelf, source)
        held = await note.load()
        if held is None:
            return 0
        if not held.paths:
            raise TransientError(
                f"the paths that are held of {source} cannot be read: start instep up, which "
                "lists the folder anew, then decide"
            )
        await note.put(replace(held, kept=kept, released=not kept))
        return held.vanished


def hold_of(source: str, held: Held) -> Hold:
    """The public view of a hold. Pure."""
    return Hold(
        source=source,
        since=datetime.fromisoformat(held.since),
        vanished=held.vanished,
        of=held.of,
        sample=held.sample,
        kept=held.kept,
        released=held.released,
    )
