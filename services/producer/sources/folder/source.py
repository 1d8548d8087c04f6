"""A folder as a source of documents, behind the port of all sources."""

from collections.abc import Collection, Iterator
from typing import Final

from services.producer.sources.folder.folder import Folder
from services.producer.sources.port import Heard, Looked, Unreadable

TRIED: Final = 1_000
"""Paths that are tried at once; of more, the others wait for a listing."""
PEEKS: Final = 64
"""Files of one notice whose age is looked at, in the event loop; others wait the whole time."""


class FolderSource(Folder):
    """Implements `services.producer.sources.port.DocumentSource`."""

    @property
    def place(self) -> str:
        return str(self.root)

    def look_at(self, known: Collection[str], paths: Collection[str]) -> Looked:
        """A link is looked at, too, when a name on the way to its file is among the paths."""
        found = Looked(self.identity())
        absent: set[str] = set()
        links = {link for path in paths for link in self.links_to(path)}
        for path in sorted({*paths, *links}):
            try:
                if self.is_folder(path):
                    self._look_into(known, path, found)
                    continue
                version = self.look(path)
            except Unreadable as error:
                found.problems[path] = str(error)
                found.blocked.add(path)
                continue
            if version is None:
                absent.add(path)
            else:
                found.present[path] = version
        found.vanished.extend(at_or_below(known, absent))
        return found

    def opened(self, blocked: Collection[str]) -> tuple[bool, bool]:
        opens = [path for path in sorted(blocked)[:TRIED] if self.opens(path)]
        return bool(opens), any(map(self.is_folder, opens))

    def meaning(self, names: Collection[str]) -> Heard:
        """Names are absolute."""
        paths = {path for name in names for path in self.paths_of(name)}
        return Heard(
            {path: self.peek(path) if n < PEEKS else None for n, path in enumerate(paths)},
            rules=any(map(self.decides, names)),
            relinked=self.relinked(names),
            root=any(map(self.is_root, names)),
        )

    def _look_into(self, known: Collection[str], path: str, found: Looked) -> None:
        scan = self.scan(path)
        found.closed.update(scan.problems)
        found.blocked.update(scan.closed)
        found.present.update(scan.files)
        found.vanished.extend(
            name
            for name in at_or_below(known, {path})
            if name not in scan.files and scan.knows(name)
        )


def at_or_below(known: Collection[str], places: Collection[str]) -> list[str]:
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
