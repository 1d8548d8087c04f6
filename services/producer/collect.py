"""Deletes bodies that no document needs any more.

A body is put before the change that names it is appended, and is read for as long as a worker has
that change in hand. So the collector looks at old bodies only, and deletes one when two looks, with
some time between them, have found no change that names it.
"""

import asyncio
import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from shared.domain.errors import GARBAGE, InstepError
from shared.ports import ChangeLog, ContentStore, Now, Shelf

log = structlog.get_logger()

OLD_AFTER: Final = timedelta(hours=1)
APART: Final = timedelta(minutes=10)
EVERY_S: Final = 1800.0
NOTE: Final = "bodies.unneeded"
MOST_NOTED: Final = 5_000
"""The rest is found by later looks."""


@dataclass(frozen=True, slots=True)
class UnneededBodies:
    """The bodies that a look found unneeded, and its time."""

    at: datetime
    names: frozenset[str] = frozenset()


def unneeded(stored: Mapping[str, datetime], named: Set[str], before: datetime) -> frozenset[str]:
    """Bodies that no newest change names and that were last put before the given moment."""
    return frozenset(name for name, at in stored.items() if at < before and name not in named)


@dataclass(frozen=True, slots=True)
class CollectBodies:
    """`run` until cancelled. `notes` keeps the last look, for a process that does not live long."""

    changes: ChangeLog
    bodies: ContentStore
    notes: Shelf
    now: Now
    every_s: float = EVERY_S

    async def __call__(self) -> int:
        """Look once. Returns how many bodies were deleted. Raises BusUnavailable."""
        now, last = self.now(), _read(await self.notes.get(NOTE))
        if timedelta(0) <= now - last.at < APART:
            return 0
        before = now - OLD_AFTER
        old = {name: at for name, at in (await self.bodies.stored()).items() if at < before}
        found = unneeded(old, await self.changes.bodies(), before) if old else frozenset[str]()
        gone = [
            name
            for name in sorted(found & last.names)
            if await self.bodies.forget(name, put_before=before)
        ]
        rest = sorted(found.difference(gone))[:MOST_NOTED]
        if rest or last.names:
            note = {"at": now.isoformat(), "names": rest}
            await self.notes.put(NOTE, json.dumps(note).encode())
        if gone:
            log.info("bodies_deleted", count=len(gone))
        return len(gone)

    async def run(self) -> None:
        me = asyncio.current_task()
        while True:
            try:
                await self()
            except InstepError as error:
                log.warning("bodies_not_collected", reason=str(error))
            if me and me.cancelling():
                return  # a cancellation that the bus's client swallowed
            await asyncio.sleep(self.every_s)


def _read(note: bytes | None) -> UnneededBodies:
    """The last look; None where it cannot be read."""
    try:
        raw = json.loads(note or b"")
        at = datetime.fromisoformat(raw["at"]).astimezone(UTC)
        return UnneededBodies(at, frozenset(map(str, raw["names"])))
    except GARBAGE:
        return UnneededBodies(datetime.min.replace(tzinfo=UTC))
