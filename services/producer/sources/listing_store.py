"""The listing of a source, kept in a bucket in 256 shards; only changed shards are written.

Before new files are accepted, their paths are noted: a process that dies in between would else
leave documents behind that no listing knows, and no watch would notice when their files go.
"""

import asyncio
import json
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from services.producer.removals.held import Held, HeldNote
from services.producer.sources.listing import (
    NEVER_READ,
    SHARDS,
    Seen,
    from_bytes,
    shard_of,
    to_bytes,
)
from services.producer.sources.port import Root
from shared.domain.errors import GARBAGE
from shared.ports import Shelf

LATELY_S: Final = 60.0
INTENDED_BYTES: Final = 256 * 1024
"""Of paths that are noted in one value, before compression."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """Removals of a source that wait: more than `share` of its documents, and at least `count`."""

    share: float = 0.5
    count: int = 20

    def may_remove(self, vanished: int, lately: int, known: int) -> bool:
        """P7: whether so many documents of a source may leave the index unasked.

        Args:
            vanished: documents that are to be removed now.
            lately: those removed within the last minute: a deletion comes in pieces.
            known: documents of the source now, with those.
        """
        total = vanished + lately
        return total < self.count or total <= self.share * (known + lately)

    def may_release(self, shown: int, vanished: int, known: int) -> bool:
        """Whether a release covers the files gone by now; not when many more have vanished.

        Args:
            shown: removals that the person has seen.
            vanished: removals now.
            known: documents of the source, with those.
        """
        return self.may_remove(max(0, vanished - shown), 0, known - shown)


class Lately:
    """How many documents were removed within the last minute. Times: one monotonic clock."""

    def __init__(self) -> None:
        self._removed: deque[tuple[float, int]] = deque()

    def add(self, removed: int, now: float) -> None:
        self._removed.append((now, removed))

    def count(self, now: float) -> int:
        while self._removed and self._removed[0][0] < now - LATELY_S:
            self._removed.popleft()
        return sum(removed for _, removed in self._removed)


class KeptListing:
    """The accepted state of each file of a source.

    Keys: `<source>.<shard>`, `<source>.new.<n>`, `<source>.root`, and those of `HeldNote`. A value
    that cannot be read is one that is missing.
    """

    def __init__(self, shelf: Shelf, source: str) -> None:
        self._shelf = shelf
        self._source = source
        self._held = HeldNote(shelf, source)
        self._shards: list[dict[str, Seen]] = [{} for _ in range(SHARDS)]
        self._changed: set[int] = set()
        self._intended: list[str] = []
        self._next_intended = 0
        self.entries: dict[str, Seen] = {}
        self.doubtful = False
        """There was no listing, or a part cannot be read: documents may be known elsewhere."""

    async def load(self) -> None:
        """Raises BusUnavailable."""
        keys = {f"{self._source}.{n:02x}": n for n in range(SHARDS)}
        found = await self._shelf.get_many(keys)
        shards = await asyncio.to_thread(
            lambda: {keys[name]: from_bytes(value) for name, value in found.items()}
        )
        for n, shard in shards.items():
            self._shards[n] = shard or {}
            self.entries.update(shard or {})
        self._intended = list(await self._shelf.keys(f"{self._source}.new."))
        # beyond all of them: to write over one would forget its paths
        self._next_intended = 1 + max(map(_number, self._intended), default=-1)
        intended = [_paths(v) for v in (await self._shelf.get_many(self._intended)).values()]
        for path in (path for some in intended for path in some or ()):
            if path not in self.entries:
                self.put(path, NEVER_READ)
        self.doubtful = not self.entries or None in intended or None in shards.values()

    async def intend(self, paths: Sequence[str]) -> None:
        """Note files that are about to be accepted for the first time. Raises BusUnavailable."""
        for some in _in_values(paths):
            name = f"{self._source}.new.{self._next_intended}"
            self._next_intended += 1
            self._intended.append(name)  # the bus may have stored it without an answer
            await self._shelf.put(name, zlib.compress(json.dumps(some).encode(), 1))

    async def forget_intended(self) -> None:
        """Delete the notes: the listing has all noted files by now. Raises BusUnavailable."""
        while self._intended:
            await self._shelf.delete(self._intended[-1])
            self._intended.pop()
        self._next_intended = 0

    @property
    def changed(self) -> bool:
        """Whether a change is not written yet."""
        return bool(self._changed)

    def put(self, path: str, seen: Seen) -> None:
        if self.entries.get(path) != seen:
            n = shard_of(path)
            self.entries[path] = self._shards[n][path] = seen
            self._changed.add(n)

    def remove(self, path: str) -> None:
        if path in self.entries:
            n = shard_of(path)
            del self.entries[path], self._shards[n][path]
            self._changed.add(n)

    async def save(self) -> None:
        """Write changed shards. Raises BusUnavailable; the next call writes those that are left."""
        while self._changed:
            n = self._changed.pop()
            try:
                await self._shelf.put(f"{self._source}.{n:02x}", to_bytes(self._shards[n]))
            except BaseException:
                self._changed.add(n)
                raise

    async def held(self) -> Held | None:
        """Raises BusUnavailable."""
        return await self._held.load()

    async def hold(self, held: Held | None) -> None:
        """Note removals that wait, or that none do. Raises BusUnavailable."""
        await self._held.put(held)

    async def root(self) -> Root | None:
        """Device and inode of the folder that was listed last. Raises BusUnavailable."""
        value = await self._shelf.get(f"{self._source}.root")
        try:
            device, inode = json.loads(value or b"null")
            return int(device), int(inode)
        except GARBAGE:
            return None

    async def keep_root(self, root: Root) -> None:
        """Raises BusUnavailable."""
        await self._shelf.put(f"{self._source}.root", json.dumps(root).encode())


def _in_values(paths: Sequence[str]) -> Iterator[list[str]]:
    """The paths in lists of about INTENDED_BYTES of JSON."""
    some: list[str] = []
    size = 0
    for path in paths:
        some.append(path)
        size += len(json.dumps(path))
        if size >= INTENDED_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _number(key: str) -> int:
    last = key.rpartition(".")[2]
    return int(last) if last.isdecimal() else -1


def _paths(compressed: bytes) -> list[str] | None:
    try:
        noted = json.loads(zlib.decompress(compressed))
    except GARBAGE:
        return None
    is_list = isinstance(noted, list) and all(isinstance(path, str) for path in noted)
    return noted if is_list else None
