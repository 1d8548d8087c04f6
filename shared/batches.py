"""Which documents a batch of changes has, and what became of it: notes on a shelf.

A batch is open from its announcement until every document of it has an outcome; then its report
takes the place of its list. Members are known as document and revision, so completion is a matter
of the ledger and survives any restart.
"""

import asyncio
import json
import secrets
import zlib
from base64 import b32hexencode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from shared.events import Batch
from shared.identity import short_digest
from shared.ports import Shelf

MEMBERS_PER_VALUE: Final = 4_000
"""About 200 KB of JSON before compression."""
REPORTS_KEPT: Final = 1_000
DECLINED: Final = "!"
"""First character of a member that is no document: a submission refused at the door."""

Report = Mapping[str, Any]
"""JSON-able; has `batch` (an `events.Batch`) and `completed_at` (ISO 8601) at least."""


def new_batch_id(now: datetime, entropy: bytes) -> str:
    """A name for a batch that sorts by time.

    Args:
        entropy: 4 random bytes.
    """
    milliseconds = int(now.timestamp() * 1000)
    raw = milliseconds.to_bytes(6, "big") + entropy[:4]
    return "b_" + b32hexencode(raw).decode().lower()


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A batch that still waits for outcomes.

    members: doc_key to revision; a submission that was refused at the door has a name of its own.
    """

    batch: Batch
    members: Mapping[str, int] = field(default_factory=dict)
    unchanged: int = 0
    whole: bool = True
    """Every member is listed. False: its publisher is still sending."""


def merge(parts: Sequence[tuple[OpenBatch, int]]) -> OpenBatch:
    """One batch from what was noted about it, with how many such notes its announcement has.

    A document that a batch names twice counts once, at its newest revision.
    """
    members: dict[str, int] = {}
    for part, _ in parts:
        for doc_key, revision in part.members.items():
            members[doc_key] = max(revision, members.get(doc_key, 0))
    batch = parts[0][0].batch
    unchanged = sum(part.unchanged for part, _ in parts)
    announced = [of for part, of in parts if part.whole]
    whole = bool(announced) and len(announced) == announced[0]
    if not announced:
        whole = len(members) + unchanged >= batch.count
    return OpenBatch(batch, members, unchanged, whole)


class BatchBook:
    """Open batches and reports. Keys: `open.<batch>.<writer>.<n>` and `done.<time>.<batch>`."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._joining: dict[str, _Joining] = {}
        self._cached: dict[str, tuple[OpenBatch, int]] = {}
        self._done: list[str] | None = None
        self.listeners: list[Callable[[], None]] = []
        """Called when this process has noted something about a batch."""

    async def announce(self, batch: Batch, members: Mapping[str, int], unchanged: int) -> None:
        """Note a batch whose members (doc_key to revision) are all known. Raises BusUnavailable."""
        pairs = list(members.items())
        parts = [
            dict(pairs[at : at + MEMBERS_PER_VALUE])
            for at in range(0, max(1, len(pairs)), MEMBERS_PER_VALUE)
        ]
        for n, part in enumerate(parts):
            note = OpenBatch(batch, part, 0 if n else unchanged)
            await self._shelf.put(f"open.{_key(batch.id)}.all.{n}", _pack(note, len(parts)))
        self._tell()

    async def join(self, batch: Batch, member: str, revision: int) -> None:
        """Note one member of a batch whose publisher says only how many there are.

        Args:
            member: doc_key, or `!` and a name for a submission that was refused at the door.
            revision: newest revision of the document.

        Raises:
            BusUnavailable: repeating is safe.
        """
        joining = self._joining.get(batch.id)
        if joining is None:
            joining = self._joining[batch.id] = _Joining(batch)
        joining.add(member, revision)
        while joining.dirty:
            async with joining.lock:  # whoever comes first writes for all who wait
                if joining.dirty:
                    name = f"open.{_key(batch.id)}.{joining.writer}.{joining.n}"
                    value = joining.take()
                    try:
                        await self._shelf.put(name, value)
                    except BaseException:
                        joining.dirty = True
                        raise
                    joining.turn()
        if joining.seen >= batch.count:
            self._joining.pop(batch.id, None)
        self._tell()

    async def open(self) -> Mapping[str, OpenBatch]:
        """Open batches by id. Raises BusUnavailable."""
        names = await self._shelf.keys("open.")
        found = await self._shelf.get_many([n for n in names if n not in self._cached])
        self._cached = {n: v for n, v in self._cached.items() if n in set(names)}
        notes = dict(self._cached)
        for name, value in found.items():
            notes[name] = _unpack(value)
            if notes[name][0].whole:  # never written again
                self._cached[name] = notes[name]
        grouped: dict[str, list[tuple[OpenBatch, int]]] = {}
        for note in notes.values():
            grouped.setdefault(note[0].batch.id, []).append(note)
        return {batch_id: merge(parts) for batch_id, parts in grouped.items()}

    async def close(self, batch_id: str, report: Report) -> None:
        """Keep the report and forget the list. Raises BusUnavailable; repeating is safe."""
        at = int(datetime.fromisoformat(report["completed_at"]).timestamp() * 1000)
        name = f"done.{at:013d}.{_key(batch_id)}"
        await self._shelf.put(name, zlib.compress(json.dumps(report).encode()))
        for noted in await self._shelf.keys(f"open.{_key(batch_id)}."):
            await self._shelf.delete(noted)
        if self._done is None:
            self._done = sorted(set(await self._shelf.keys("done.")) - {name})
        self._done.append(name)
        while len(self._done) > REPORTS_KEPT:
            await self._shelf.delete(self._done.pop(0))
        self._tell()

    async def report(self, batch_id: str) -> Report | None:
        """The report of a completed batch, or None. Raises BusUnavailable."""
        ending = f".{_key(batch_id)}"
        names = [name for name in await self._shelf.keys("done.") if name.endswith(ending)]
        value = await self._shelf.get(max(names)) if names else None
        return None if value is None else _report(value)

    async def history(self, limit: int = 50) -> list[Report]:
        """Reports, newest first. Raises BusUnavailable."""
        names = sorted(await self._shelf.keys("done."), reverse=True)[:limit]
        values = await self._shelf.get_many(names)
        return [_report(values[name]) for name in names if name in values]

    def _tell(self) -> None:
        for listener in self.listeners:
            listener()


class _Joining:
    """What this process noted about a batch whose publisher is still sending."""

    def __init__(self, batch: Batch) -> None:
        self.lock = asyncio.Lock()
        self.writer = secrets.token_hex(4)
        self.n = 0
        self.seen = 0
        self.dirty = False
        self._batch = batch
        self._members: dict[str, int] = {}

    def add(self, member: str, revision: int) -> None:
        self.dirty = True
        self.seen += 1
        self._members[member] = revision

    def take(self) -> bytes:
        """The value to be written; whatever comes after it is dirty again."""
        self.dirty = False
        note = OpenBatch(self._batch, dict(self._members), 0, whole=False)
        return _pack(note, 0)

    def turn(self) -> None:
        """Start another value when this one is large enough, unless somebody waits for it."""
        if len(self._members) >= MEMBERS_PER_VALUE and not self.dirty:
            self.n += 1
            self._members = {}


def _key(batch_id: str) -> str:
    return short_digest(batch_id, 26)


def _pack(note: OpenBatch, parts: int) -> bytes:
    raw = {
        "schema": 1,
        "batch": note.batch.model_dump(mode="json"),
        "members": note.members,
        "unchanged": note.unchanged,
        "whole": note.whole,
        "parts": parts,
    }
    return zlib.compress(json.dumps(raw, separators=(",", ":")).encode(), 1)


def _unpack(value: bytes) -> tuple[OpenBatch, int]:
    raw = json.loads(zlib.decompress(value))
    note = OpenBatch(
        batch=Batch.model_validate(raw["batch"]),
        members=raw["members"],
        unchanged=raw["unchanged"],
        whole=raw["whole"],
    )
    return note, raw["parts"]


def _report(value: bytes) -> Report:
    report: Report = json.loads(zlib.decompress(value))
    return report
