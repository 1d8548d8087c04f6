"""The documents and the state of each batch of changes, as notes in a bucket.

A batch is open from its announcement until every document of it has an outcome; then its report
takes the place of its list (`shared/batches/history.py`). Members are known as document and
revision, so the ledger decides completion, across any restart. A batch id belongs to its source.
"""

import asyncio
import json
import secrets
import time
import zlib
from base64 import b32hexencode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from shared.domain.errors import GARBAGE
from shared.domain.events import Batch
from shared.domain.ids import batch_key
from shared.ports import Shelf

log = structlog.get_logger()

SCHEMA: Final = 1
MEMBERS_PER_VALUE: Final = 4_000
"""About 200 KB of JSON before compression."""
DECLINED: Final = "!"
"""First character of a member that stands for a refused submission. Its number follows, and after a
blank the code of the reason."""


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

    members: doc_key to revision; a refused submission has a name of its own.
    """

    batch: Batch
    members: Mapping[str, int] = field(default_factory=dict)
    unchanged: int = 0
    whole: bool = True
    """Every member is listed. False: its publisher is still sending."""
    moved: int = 0
    """Pairs of members that are one document, moved."""
    noted_at: float = 0.0
    """Unix time of the newest note."""


def merge(parts: Sequence[tuple[OpenBatch, int]]) -> OpenBatch:
    """One batch from its notes, each with the number of notes that its announcement has.

    A document that a batch names twice counts once, at its newest revision.
    """
    members: dict[str, int] = {}
    for part, _ in parts:
        for doc_key, revision in part.members.items():
            members[doc_key] = max(revision, members.get(doc_key, 0))
    batch = min((part.batch for part, _ in parts), key=lambda b: (b.started_at, b.source))
    unchanged = sum(part.unchanged for part, _ in parts)
    announced = [of for part, of in parts if part.whole]
    whole = bool(announced) and len(announced) == announced[0]
    if not announced:
        whole = len(members) + unchanged >= batch.count
    return OpenBatch(
        batch,
        members,
        unchanged,
        whole,
        sum(part.moved for part, _ in parts),
        max(part.noted_at for part, _ in parts),
    )


class BatchBook:
    """Open batches of one generation.

    Keys: `open.<batch key>.<writer>.<n>`, where the batch key is that of
    `shared.domain.ids.batch_key`; `left.…` the same, once the batch was given up. Version 0.1.0
    wrote `open.<digest of the id>.<writer>.<n>`: `open` gives such notes their new keys.
    """

    def __init__(
        self, shelf: Shelf, generation: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._shelf, self.generation, self._clock = shelf, generation, clock
        self._left_renamed = False
        self._joining: dict[str, _Joining] = {}
        self._cached: dict[str, tuple[OpenBatch, int]] = {}
        self._garbage: set[str] = set()
        """Names of unreadable notes that were logged."""
        self.listeners: list[Callable[[], None]] = []
        """Called when this process has written a note about an open batch."""

    async def announce(
        self, batch: Batch, members: Mapping[str, int], unchanged: int, moved: int = 0
    ) -> None:
        """Note a batch whose members (doc_key to revision) are all known. Raises BusUnavailable."""
        pairs = list(members.items())
        parts = [
            dict(pairs[at : at + MEMBERS_PER_VALUE])
            for at in range(0, max(1, len(pairs)), MEMBERS_PER_VALUE)
        ]
        for n, part in enumerate(parts):
            first = n == 0
            note = OpenBatch(
                batch, part, unchanged * first, moved=moved * first, noted_at=self._clock()
            )
            await self._shelf.put(f"open.{self.key(batch)}.all.{n}", _pack(note, len(parts)))
        self._tell()

    async def join(self, batch: Batch, member: str, revision: int) -> None:
        """Note one member of a batch whose publisher announces only their number.

        Args:
            member: doc_key, or `!` and a name for a refused submission.
            revision: newest revision of the document.

        Raises:
            BusUnavailable: repeating is safe.
        """
        key = self.key(batch)
        joining = self._joining.get(key)
        if joining is None:
            joining = self._joining[key] = _Joining(batch, self._clock)
        joining.add(member, revision)
        while joining.dirty:
            async with joining.lock:  # the first caller writes for all that wait
                if joining.dirty:
                    name = f"open.{key}.{joining.writer}.{joining.n}"
                    value = joining.take()
                    try:
                        await self._shelf.put(name, value)
                    except BaseException:
                        joining.dirty = True
                        raise
                    joining.turn()
        if joining.seen >= batch.count:
            self._joining.pop(key, None)
        self._tell()

    async def open(self, source: str = "", batch_id: str = "") -> Mapping[str, OpenBatch]:
        """Open batches by batch key; only the notes of those are read. Raises BusUnavailable.

        A note of 4,000 members takes milliseconds to read, so notes are read and merged in a
        thread.

        Args:
            source: those of this source; empty: of all.
            batch_id: those of this id; empty: of all.
        """
        mine = f"open.{self.generation}."
        names = [n for n in await self._renamed() if n.startswith(mine)]
        there = set(names)
        self._cached = {n: note for n, note in self._cached.items() if n in there}
        wanted = [n for n in names if _is_of(n, source, batch_id)]
        known = {n: self._cached[n] for n in wanted if n in self._cached}
        notes = await self._read([n for n in wanted if n not in known])
        self._cached |= {n: note for n, note in notes.items() if note[0].whole}  # never rewritten
        grouped: dict[str, list[tuple[OpenBatch, int]]] = {}
        for note in (known | notes).values():
            grouped.setdefault(self.key(note[0].batch), []).append(note)
        for key, parts in grouped.items():
            if not any(part.whole for part, _ in parts):
                left = await self._shelf.keys(f"left.{key}.")
                parts.extend((await self._read(left)).values())
        return await asyncio.to_thread(_merged, grouped)

    async def forget(self, batch: Batch) -> None:
        """Delete the notes of a batch that has its report. Raises BusUnavailable."""
        await asyncio.gather(
            *(self._shelf.clear(f"{kind}.{self.key(batch)}") for kind in ("open", "left"))
        )

    async def set_aside(self, batch: Batch) -> None:
        """Close a batch that was given up; a further document of it opens it again.

        Raises BusUnavailable; repeating is safe.
        """
        names = await self._shelf.keys(f"open.{self.key(batch)}.")
        for name, value in (await self._shelf.get_many(names)).items():
            await self._shelf.put(f"left.{name.removeprefix('open.')}", value)
            await self._shelf.delete(name)

    def key(self, batch: Batch) -> str:
        """The batch key in the generation of this book."""
        return batch_key(self.generation, batch.source, batch.id)

    async def _renamed(self) -> list[str]:
        """Names of the notes of open batches, after those of version 0.1.0 have new names.

        Producers of that version may still write while this one starts, so open notes are renamed
        every time. Only its validators set batches aside, so those notes are renamed once.
        """
        names = list(await self._shelf.keys("open."))
        old = [name for name in names if _is_old(name)]
        if not self._left_renamed:
            old += filter(_is_old, await self._shelf.keys("left."))
        for name, value in (await self._shelf.get_many(old)).items():
            if (note := _unpack(value)) is None:
                continue
            kind, _, writer, n = name.split(".")
            new = f"{kind}.{self.key(note[0].batch)}.{writer}.{n}"
            await self._shelf.put(new, value)
            if await self._shelf.get(name) == value:  # else its writer has added to it meanwhile
                await self._shelf.delete(name)
            names += [new] * (kind == "open" and new not in names)
        self._left_renamed = True
        return names

    async def _read(self, names: Sequence[str]) -> dict[str, tuple[OpenBatch, int]]:
        """Notes by name, without unreadable ones and those of a newer version."""
        if not names:
            return {}
        found = await asyncio.to_thread(_unpacked, await self._shelf.get_many(names))
        for name in {n for n, note in found.items() if note is None} - self._garbage:
            self._garbage.add(name)
            log.warning("batch_note_unreadable", key=name)
        return {name: note for name, note in found.items() if note}

    def _tell(self) -> None:
        for listener in self.listeners:
            listener()


class _Joining:
    """This process's notes about a batch whose publisher is still sending."""

    def __init__(self, batch: Batch, clock: Callable[[], float]) -> None:
        self._clock = clock
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
        """The value to be written; a later member makes this dirty again."""
        self.dirty = False
        note = OpenBatch(self._batch, dict(self._members), 0, whole=False, noted_at=self._clock())
        return _pack(note, 0)

    def turn(self) -> None:
        """Start another value when this one is large enough, unless a caller waits for it."""
        if len(self._members) >= MEMBERS_PER_VALUE and not self.dirty:
            self.n += 1
            self._members = {}


def _merged(grouped: Mapping[str, Sequence[tuple[OpenBatch, int]]]) -> dict[str, OpenBatch]:
    return {key: merge(parts) for key, parts in grouped.items()}


def _is_of(name: str, source: str, batch_id: str) -> bool:
    """Whether a note is of the source and the id, if these are given; by the key in its name."""
    _, generation, of, *_ = name.split(".")
    if source not in ("", of):
        return False
    return not batch_id or name.startswith(f"open.{batch_key(generation, of, batch_id)}.")


def _is_old(name: str) -> bool:
    return name.count(".") == 3


def _pack(note: OpenBatch, parts: int) -> bytes:
    raw = {
        "schema": SCHEMA,
        "batch": note.batch.model_dump(mode="json"),
        "members": note.members,
        "unchanged": note.unchanged,
        "whole": note.whole,
        "parts": parts,
        "moved": note.moved,
        "at": round(note.noted_at, 3),
    }
    return zlib.compress(json.dumps(raw, separators=(",", ":")).encode(), 1)


def _unpacked(values: Mapping[str, bytes]) -> dict[str, tuple[OpenBatch, int] | None]:
    return {name: _unpack(value) for name, value in values.items()}


def _unpack(value: bytes) -> tuple[OpenBatch, int] | None:
    """The note, and the number of notes in its announcement; None: it is unreadable."""
    try:
        raw = json.loads(zlib.decompress(value))
        note = OpenBatch(
            batch=Batch.model_validate(raw["batch"]),
            members={str(member): int(revision) for member, revision in raw["members"].items()},
            unchanged=int(raw["unchanged"]),
            whole=bool(raw["whole"]),
            moved=int(raw.get("moved", 0)),
            noted_at=float(raw.get("at", 0.0)),
        )
        return (note, int(raw["parts"])) if raw["schema"] == SCHEMA else None
    except GARBAGE:
        return None
