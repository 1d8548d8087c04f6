"""The last listing of a folder, and the differences to the current one. Pure.

Content decides what has changed, not time stamps: an equal stat only saves the reading, and only
when the file was read long enough after its last change that a later edit must show in the stat.
A `Scan` knows for which missing paths the listing is evidence.
"""

import json
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from services.producer.sources.port import Version
from shared.domain.errors import GARBAGE


class Seen(NamedTuple):
    """A file whose content was accepted."""

    version: Version
    read_at_ns: int
    """Just before it was read."""
    content_hash: str
    revision: int
    whole: bool = True
    """False: larger than the limit, so its content was not read."""


NEVER_READ: Final = Seen(Version(-1, 0, 0, 0), 0, "", 0)
"""In place of a file that may have been accepted, or not."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Paths by the action that they need, each sorted."""

    unchanged: int
    suspects: tuple[str, ...]
    """To be read: new, or with another stat, or read too soon after their last change."""
    vanished: tuple[str, ...]


def compare(
    before: Mapping[str, Seen], after: Mapping[str, Version], *, max_bytes: int
) -> Comparison:
    """Files to read, and files that are gone, when a folder that held `before` holds `after`."""
    suspects = [
        path
        for path, stat in after.items()
        if not is_surely_unchanged(before.get(path), stat, max_bytes)
    ]
    return Comparison(
        unchanged=len(after) - len(suspects),
        suspects=tuple(sorted(suspects)),
        vanished=tuple(sorted(before.keys() - after.keys())),
    )


def moved(
    before: Mapping[str, Seen], vanished: Collection[str], found: Mapping[str, Version | None]
) -> dict[str, str]:
    """Those of the vanished paths whose very file is now at a path that was not known, and that
    path; it stands for one vanished one, because rows and attachments may have one content."""
    new = dict[tuple[int, int, int], list[str]]()
    for path, stat in found.items():
        if stat is not None and path not in before:
            new.setdefault((stat.identity, stat.size, stat.mtime_ns), []).append(path)
    elsewhere = dict[str, str]()
    for path in sorted(vanished) if new else ():
        stat = before[path].version
        if there := new.get((stat.identity, stat.size, stat.mtime_ns)):
            elsewhere[path] = there.pop()
    return elsewhere


def is_surely_unchanged(seen: Seen | None, stat: Version, max_bytes: int) -> bool:
    """Whether reading the file could only show the accepted content."""
    if seen is None or seen.version != stat or seen.whole != (stat.size <= max_bytes):
        return False
    return stat.changed_ns + RACY_NS <= seen.read_at_ns


def pair_moves(gone: Mapping[str, str], appeared: Mapping[str, str]) -> list[tuple[str, str]]:
    """Files that only changed their name, old and new; for reports only, no decision depends on it.

    Args:
        gone: path to content hash of the vanished files.
        appeared: the same of the new files.
    """
    by_hash: dict[str, list[str]] = {}
    for path in sorted(appeared, reverse=True):
        by_hash.setdefault(appeared[path], []).append(path)
    return [(path, by_hash[gone[path]].pop()) for path in sorted(gone) if by_hash.get(gone[path])]


def has_all(entries: Mapping[str, Seen], others: Mapping[str, Seen]) -> bool:
    """Whether a listing has every file of another one, by path and content; not of an empty one."""
    return bool(others) and all(
        seen.content_hash and (mine := entries.get(path)) and mine.content_hash == seen.content_hash
        for path, seen in others.items()
    )


# -- the listing as the values of a bucket ---------------------------------------------------------


def shard_of(path: str) -> int:
    """Which of the 256 shards keeps a path."""
    return zlib.crc32(path.encode()) % SHARDS


def to_bytes(entries: Mapping[str, Seen]) -> bytes:
    """One shard: compressed JSON."""
    rows = [
        [path, *seen.version, seen.read_at_ns, seen.content_hash, seen.revision, int(seen.whole)]
        for path, seen in sorted(entries.items())
    ]
    return zlib.compress(json.dumps([1, rows], separators=(",", ":")).encode(), 1)


def from_bytes(data: bytes) -> dict[str, Seen] | None:
    """Entries of a shard; None when it cannot be read."""
    try:
        version, rows = json.loads(zlib.decompress(data))
        return dict(_entries(rows)) if version == 1 else None
    except GARBAGE:
        return None


def _entries(rows: Iterable[list[Any]]) -> Iterator[tuple[str, Seen]]:
    for path, size, mtime, ctime, inode, read_at, content_hash, revision, whole in rows:
        stat = Version(int(size), int(mtime), int(ctime), int(inode))
        path.encode()  # which no number can, and no text that is no path
        yield path, Seen(stat, int(read_at), str(content_hash), int(revision), bool(whole))


RACY_NS: Final = 2_000_000_000
"""A file read less than this after its last change is read again: the coarsest file systems count
in 2 s, so a second edit of the same size could carry the same time stamp (git's racy entries)."""
SHARDS: Final = 256
