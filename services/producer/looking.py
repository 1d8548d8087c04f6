"""Looks at some paths of a folder, compared with the accepted state of them.

Blocking calls, to be made in a thread.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from services.producer.sources.folder.folder import Folder, Unreadable
from services.producer.sources.folder.listing import Seen, Stat, is_surely_unchanged

TRIED: Final = 1_000
"""Paths that are tried at once; of more, the others wait for a listing."""


@dataclass(frozen=True, slots=True)
class FolderChanges:
    """Files to read, files that are gone, and faults."""

    present: set[str] = field(default_factory=set)
    """Files that are there, changed or not."""
    suspects: dict[str, Stat | None] = field(default_factory=dict)
    vanished: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    """Of files that cannot be looked at."""
    closed: dict[str, str] = field(default_factory=dict)
    """Of folders, and of names below them, as a listing of these shows them."""
    blocked: set[str] = field(default_factory=set)
    """Files and folders that are there and cannot be read."""
    root: tuple[int, int] = (0, 0)
    """Device and inode of the root that was looked at."""


def look_at(folder: Folder, known: Mapping[str, Seen], paths: Collection[str]) -> FolderChanges:
    """Look at each path: a file, a folder with all below it, or a path that is gone.

    Raises:
        SourceUnavailable: then no document counts as vanished.
    """
    found = FolderChanges(root=folder.identity())
    absent: set[str] = set()
    links = {link for path in paths for link in folder.links_to(path)}
    for path in sorted({*paths, *links}):
        if folder.is_folder(path):
            _look_into(folder, known, path, found)
            continue
        try:
            stat = folder.look(path)
        except Unreadable as error:
            found.problems[path] = str(error)
            found.blocked.add(path)
            continue
        if stat is None:
            absent.add(path)
            continue
        found.present.add(path)
        if not is_surely_unchanged(known.get(path), stat, folder.max_bytes):
            found.suspects[path] = stat
    found.vanished.extend(at_or_below(known, absent))
    return found


def _look_into(folder: Folder, known: Mapping[str, Seen], path: str, found: FolderChanges) -> None:
    scan = folder.scan(path)
    found.closed.update(scan.problems)
    found.blocked.update(scan.closed)
    found.present.update(scan.files)
    for name, stat in scan.files.items():
        if not is_surely_unchanged(known.get(name), stat, folder.max_bytes):
            found.suspects[name] = stat
    found.vanished.extend(
        name for name in at_or_below(known, {path}) if name not in scan.files and scan.knows(name)
    )


def opened(folder: Folder, blocked: Collection[str]) -> tuple[bool, bool]:
    """Whether any blocked file or folder can be read by now, and whether one is a folder."""
    opens = [path for path in sorted(blocked)[:TRIED] if folder.opens(path)]
    return bool(opens), any(map(folder.is_folder, opens))


def at_or_below(known: Mapping[str, Seen], places: Collection[str]) -> list[str]:
    """The known paths that are one of the places, or lie in one of them."""
    found = [place for place in places if place in known]
    folders = {place for place in places if place not in known}
    if folders:
        found += [path for path in known if any(p in folders for p in parents(path))]
    return found


def parents(path: str) -> Iterator[str]:
    """The folders on the way to a path, nearest first."""
    at = path.rfind("/")
    while at > 0:
        path = path[:at]
        yield path
        at = path.rfind("/")
