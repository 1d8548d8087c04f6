"""Removals that wait, of all folders that this process watches."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.producer.held import Held
from services.producer.watch import FolderWatch
from shared.ports import Hold


@dataclass(frozen=True, slots=True)
class FolderHolds:
    """Implements `shared.ports.Holds`. `watches`: by source."""

    watches: Mapping[str, FolderWatch]
    _releasing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def list(self) -> Sequence[Hold]:
        held = {source: watch.held for source, watch in sorted(self.watches.items())}
        return [hold_of(source, one) for source, one in held.items() if one is not None]

    async def release(self, source: str) -> int:
        watch = self.watches.get(source)
        async with self._releasing:
            if watch is None or watch.held is None:
                return 0
            return await watch.release()

    async def keep(self, source: str) -> int:
        watch = self.watches.get(source)
        return 0 if watch is None else await watch.guard.keep()


def hold_of(source: str, held: Held) -> Hold:
    """What is held, as everybody sees it. Pure."""
    return Hold(
        source=source,
        since=datetime.fromisoformat(held.since),
        vanished=held.vanished,
        of=held.of,
        sample=held.sample,
        kept=held.kept,
    )
