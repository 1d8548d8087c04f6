"""Removals of a source that wait for a person: their paths, and their note in a bucket.

The note says how many and since when; the paths are beside it, in values named by their content. So
a process that dies between two writes leaves the old note with the old paths, or the new ones.
"""

import asyncio
import hashlib
import heapq
import json
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from shared.domain.errors import GARBAGE
from shared.ports import Shelf

SAMPLE: Final = 20
PART_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Held:
    """Removals that wait for a person."""

    since: str
    """ISO 8601."""
    vanished: int
    of: int
    sample: tuple[str, ...]
    """Some of the paths."""
    kept: bool = False
    """A person has decided that these documents stay."""
    released: bool = False
    """A person has released them without a watch; the next whole listing may remove them."""
    back: int = 0
    """Files that came back since; not those that were moved."""
    strict: bool = False
    """They wait because another folder had the name of the root, however few they are."""
    paths: frozenset[str] = field(default=frozenset(), repr=False)
    """All of them; empty where the note of them was lost."""


def about(
    since: str, paths: Collection[str], known: int, *, kept: bool = False, strict: bool = False
) -> Held:
    """A new hold of these paths. `known`: documents of the source, with those."""
    sample = tuple(heapq.nsmallest(SAMPLE, paths))
    return Held(since, len(paths), known, sample, kept, strict=strict, paths=frozenset(paths))


def left_of(held: Held, rest: Collection[str]) -> Held:
    """The hold, and the decision about it, for the rest of its paths."""
    sample = tuple(heapq.nsmallest(SAMPLE, rest))
    back = held.back + len(held.paths.difference(rest))
    return replace(held, vanished=len(rest), sample=sample, back=back, paths=frozenset(rest))


def waiting(held: Held | None) -> int:
    """Removals that wait for a decision; decided ones do not count."""
    return 0 if held is None or held.kept or held.released else held.vanished


def missing(held: Held | None, gone: Collection[str], unseen: Collection[str]) -> frozenset[str]:
    """The paths of a hold after a listing: the gone ones, and the held ones that are not back.

    Args:
        unseen: paths that the listing could not look for.
    """
    if held is None:
        return frozenset(gone)
    return frozenset(gone) | (held.paths.intersection(unseen) if held.paths else frozenset(unseen))


def noted_sources(keys: Collection[str]) -> list[str]:
    """The sources with a note among these keys. No name of a source has a dot."""
    return sorted(key.removesuffix(".held") for key in keys if key.endswith(".held"))


class HeldNote:
    """The hold of one source, kept over restarts.

    Keys: `<source>.held`, and `<source>.held.<digest>.<n>` for the paths.
    """

    def __init__(self, shelf: Shelf, source: str) -> None:
        self._shelf = shelf
        self._key = f"{source}.held"
        self._parts: set[str] = set()

    async def load(self) -> Held | None:
        """None where nothing waits, or the note cannot be read: then the next listing decides.

        Without its paths the object of a decision is not known, so the person is asked again.

        Raises:
            BusUnavailable: nothing is known.
        """
        self._parts = set(await self._shelf.keys(f"{self._key}."))
        value = await self._shelf.get(self._key)
        if value is None or (noted := _read(value)) is None:
            return None
        held, name, parts = noted
        names = [f"{self._key}.{name}.{n}" for n in range(parts)]
        values = await self._shelf.get_many(names)
        packed = b"".join(values.get(part, b"") for part in names)
        paths = await asyncio.to_thread(_unpack, packed) if _digest(packed) == name else None
        if not paths:
            return replace(held, kept=False, released=False)
        return replace(held, paths=paths)

    async def put(self, held: Held | None) -> None:
        """Note removals that wait, or that none do. Raises BusUnavailable."""
        needed: set[str] = set()
        if held is None:
            await self._shelf.delete(self._key)
        else:
            needed = await self._put(held)
        for part in self._parts - needed:
            await self._shelf.delete(part)
            self._parts = self._parts - {part}

    async def _put(self, held: Held) -> set[str]:
        """Returns the keys that the note needs."""
        packed = await asyncio.to_thread(_pack, held.paths)
        name, parts = _digest(packed), set[str]()
        for n, start in enumerate(range(0, len(packed), PART_BYTES)):
            part = f"{self._key}.{name}.{n}"
            parts.add(part)
            if part not in self._parts:
                await self._shelf.put(part, packed[start : start + PART_BYTES])
                self._parts = self._parts | {part}
        note = {
            "since": held.since,
            "vanished": held.vanished,
            "of": held.of,
            "sample": held.sample,
            "kept": held.kept,
            "released": held.released,
            "back": held.back,
            "strict": held.strict,
            "paths": name,
            "parts": len(parts),
        }
        await self._shelf.put(self._key, json.dumps(note).encode())
        return parts


def _digest(packed: bytes) -> str:
    return hashlib.sha256(packed).hexdigest()[:32]


def _pack(paths: Collection[str]) -> bytes:
    """No path has a NUL in it."""
    return zlib.compress("\0".join(sorted(paths)).encode(), 1)


def _unpack(packed: bytes) -> frozenset[str]:
    """Bytes that `_pack` made; their digest says so."""
    text = zlib.decompress(packed).decode()
    return frozenset(text.split("\0")) if text else frozenset()


def _read(value: bytes) -> tuple[Held, str, int] | None:
    """The note without its paths, the name of these, and in how many values they are."""
    try:
        raw = json.loads(value)
        datetime.fromisoformat(raw["since"])
        held = Held(
            since=raw["since"],
            vanished=int(raw["vanished"]),
            of=int(raw["of"]),
            sample=tuple(map(str, raw["sample"])),
            kept=bool(raw.get("kept", False)),
            released=bool(raw.get("released", False)),
            back=int(raw.get("back", 0)),
            strict=bool(raw.get("strict", False)),
        )
        return held, str(raw.get("paths", "")), int(raw.get("parts", 0))
    except GARBAGE:
        return None
