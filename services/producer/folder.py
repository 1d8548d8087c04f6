"""A folder as a source of documents: what it holds, and the content of one file.

Blocking calls, to be made in a thread. A folder that cannot be read is an error of the source and
never looks like an empty one: an empty listing means that the documents were deleted.
"""

# os and os.path, because a Path per file would double the time of a large listing
# ruff: noqa: PTH112, PTH114, PTH116, PTH118, PTH120, PTH123

import hashlib
import os
import stat as stats
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from services.producer.listing import RACY_NS, Stat
from services.producer.names import Names
from services.producer.reading import content, digest, printable, words
from services.producer.rules import Rules, is_ignored
from shared.errors import DocumentRefused, TransientError


class SourceUnavailable(TransientError):
    """The root is missing or cannot be read; nothing is known about its documents."""


class Unsettled(TransientError):
    """The file changed while it was read; somebody is still writing it."""


class Unreadable(TransientError):
    """The file is there and cannot be read: permissions, or an error of the disk."""


@dataclass(frozen=True, slots=True)
class Body:
    """A file at one moment. `data`: None when it is larger than the limit."""

    stat: Stat
    read_at_ns: int
    content_hash: str
    data: bytes | None
    url: str


@dataclass(slots=True)
class Scan:
    """What a folder, or a part of it, holds."""

    files: dict[str, Stat] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    """Path to what is wrong with it, in words for people."""
    closed: set[str] = field(default_factory=set)
    """Folders that could not be listed: nothing is known about what they hold."""

    def knows(self, path: str) -> bool:
        """Whether the absence of a path from `files` means that it is not there."""
        if not self.closed:
            return True
        parts = path.split("/")
        return not any("/".join(parts[:n]) in self.closed for n in range(1, len(parts) + 1))


class Folder:
    """The documents below one root. Paths are relative to it, with '/', in NFC.

    Args:
        never: folders that are not entered wherever they lie, such as instep's own data.
    """

    def __init__(
        self, root: Path, rules: Rules, *, max_bytes: int, never: Collection[Path] = ()
    ) -> None:
        self.root = root
        self.rules = rules
        self.max_bytes = max_bytes
        self._never = frozenset(os.path.realpath(path) for path in never)
        self._real = os.path.realpath(root)
        self._names = Names()
        self._links: dict[str, set[str]] = {}

    def identity(self) -> tuple[int, int]:
        """Device and inode of the root. Raises SourceUnavailable."""
        try:
            found = os.stat(self.root)
            with os.scandir(self.root):
                pass
        except OSError as error:
            raise SourceUnavailable(f"{self.root}: {words(error)}") from None
        if not stats.S_ISDIR(found.st_mode):
            raise SourceUnavailable(f"{self.root}: not a folder")
        self._real = os.path.realpath(self.root)
        return found.st_dev, found.st_ino

    def scan(self, below: str = "") -> Scan:
        """Everything that is a document, in the whole folder or below one of its folders.

        Raises:
            SourceUnavailable: the root is missing, unreadable, or was exchanged meanwhile.
        """
        before = self.identity()
        result = Scan()
        waiting = list(self._names.of(below)) if self._may_enter(below) else []
        while waiting:
            self._list(waiting.pop(), waiting, result)
        if self.identity() != before:
            raise SourceUnavailable(f"{self.root}: exchanged while it was listed")
        return result

    def is_root(self, name: str) -> bool:
        return name in (str(self.root), self._real)

    def path_of(self, name: str) -> str | None:
        """The path of a file system name below the root (absolute), or None if it is no business
        of ours: outside, hidden, temporary, or not valid Unicode."""
        for root in (str(self.root), self._real):
            if name.startswith(root + os.sep):
                relative = name[len(root) + 1 :].replace(os.sep, "/")
                break
        else:
            return None
        try:
            hidden = any(is_ignored(part) for part in relative.split("/"))
            return None if hidden else self._names.remember(relative)
        except DocumentRefused:
            return None

    def look(self, path: str) -> Stat | None:
        """The file's stat, or None when no document has this path now."""
        if not self.rules.wants(path) or not self._folders_are_entered(path):
            return None
        try:
            found = os.lstat(self._on_disk(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unreadable(f"{path}: {words(error)}") from None
        if stats.S_ISLNK(found.st_mode):
            return self._target(path)
        return _stat(found) if stats.S_ISREG(found.st_mode) else None

    def peek(self, path: str) -> Stat | None:
        """The file's stat as one system call can tell it: for its age, not for deciding."""
        try:
            return _stat(os.lstat(self._on_disk(path)))
        except OSError:
            return None

    def is_folder(self, path: str) -> bool:
        """Whether a folder that is listed has this path now."""
        full = self._on_disk(path)
        return os.path.isdir(full) and not os.path.islink(full) and self._may_enter(path)

    def links_to(self, path: str) -> frozenset[str]:
        """Links, seen by the last scan, that lead to the file."""
        return frozenset(self._links.get(path, ()))

    def read(self, path: str) -> Body | None:
        """Content and stat of one moment, or None when no document has this path now.

        Raises:
            Unsettled: it changed meanwhile.
            Unreadable: it is there and cannot be read.
        """
        if self.look(path) is None:
            return None
        full = self._on_disk(path)
        try:
            # O_NONBLOCK: a file may have become a pipe since it was looked at
            with open(os.open(full, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                return self._read(path, full, file.fileno())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unreadable(f"{path}: {words(error)}") from None

    # -- inside ------------------------------------------------------------------------------------

    def _read(self, path: str, full: str, file: int) -> Body | None:
        read_at_ns = time.time_ns()
        before = os.fstat(file)
        if not stats.S_ISREG(before.st_mode):
            return None
        found, url = _stat(before), Path(self._real, full).as_uri()
        if found.size > self.max_bytes:
            instead = hashlib.sha256(f"{found.size}\n{found.mtime_ns}".encode()).hexdigest()
            return Body(found, read_at_ns, instead, None, url)
        data = content(file, found.size)
        # two writes within one tick of the file system's clock leave the same stat
        content_hash = hashlib.sha256(data).hexdigest()
        torn = read_at_ns - found.changed_ns < RACY_NS and digest(file) != content_hash
        named = os.stat(full)
        if (
            torn
            or _stat(os.fstat(file)) != found
            or _stat(named) != found
            or len(data) != found.size
        ):
            raise Unsettled(f"{path}: changed while it was read")
        return Body(found, read_at_ns, content_hash, data, url)

    def _list(self, folder: str, waiting: list[str], result: Scan) -> None:
        """List a folder, by its name on disk; those in it that are entered wait."""
        prefix = f"{folder}/" if folder else ""
        try:
            with os.scandir(os.path.join(self._real, folder)) as entries:
                for entry in entries:
                    if not is_ignored(entry.name):
                        self._take(entry, prefix, waiting, result)
        except (FileNotFoundError, NotADirectoryError):
            return  # deleted since its parent was listed
        except OSError as error:
            if not folder:
                raise SourceUnavailable(f"{self.root}: {words(error)}") from None
            path = self._names.remember(folder)
            result.closed.add(path)
            result.problems[path] = f"cannot be listed: {words(error)}"

    def _take(self, entry: os.DirEntry[str], prefix: str, waiting: list[str], result: Scan) -> None:
        try:
            path = self._names.remember(prefix + entry.name)
        except DocumentRefused as refusal:
            if self.rules.wants_in_listed_folder(entry.name) or entry.is_dir(follow_symlinks=False):
                result.problems[printable(prefix + entry.name)] = str(refusal)
            return
        try:
            if entry.is_symlink():
                found = self._target(path) if self.rules.wants_in_listed_folder(path) else None
            elif entry.is_dir(follow_symlinks=False):
                if self._may_enter(path):
                    waiting.append(prefix + entry.name)
                return
            elif not self.rules.wants_in_listed_folder(path):
                return
            else:
                regular = entry.is_file(follow_symlinks=False)
                found = _stat(entry.stat(follow_symlinks=False)) if regular else None
        except FileNotFoundError:
            return
        except (OSError, Unreadable) as error:
            result.closed.add(path)
            result.problems[path] = str(error)
            return
        if found is not None and self._counts(path, prefix + entry.name, result):
            result.files[path] = found

    def _counts(self, path: str, name: str, result: Scan) -> bool:
        """Whether it is this name on disk that has the path, of two in different forms."""
        if path not in result.files:
            return True
        result.problems[path] = "two files have this name in different Unicode forms"
        return name == self._names.on_disk(path, self._real)

    def _target(self, path: str) -> Stat | None:
        """Stat of what a link leads to, if that is a file inside the root."""
        real = os.path.realpath(self._on_disk(path))
        if not real.startswith(self._real + os.sep) or self._is_never(real):
            return None
        try:
            found = os.stat(real)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unreadable(f"{path}: {words(error)}") from None
        if not stats.S_ISREG(found.st_mode):
            return None
        self._links.setdefault(real[len(self._real) + 1 :].replace(os.sep, "/"), set()).add(path)
        return _stat(found)

    def _on_disk(self, path: str) -> str:
        return os.path.join(self._real, self._names.on_disk(path, self._real))

    def _may_enter(self, path: str) -> bool:
        if path and any(is_ignored(part) for part in path.split("/")):
            return False
        return self.rules.enters(path) and not self._is_never(self._on_disk(path))

    def _folders_are_entered(self, path: str) -> bool:
        """Whether a listing would come to the file: no link, no excluded folder on the way."""
        parent = path.rpartition("/")[0]
        full = os.path.dirname(self._on_disk(path))
        if os.path.realpath(full) != full:
            return False
        parts = parent.split("/") if parent else []
        return all(self.rules.enters("/".join(parts[:n])) for n in range(1, len(parts) + 1)) and (
            not self._is_never(full)
        )

    def _is_never(self, full: str) -> bool:
        return any(full == never or full.startswith(never + os.sep) for never in self._never)


def _stat(found: os.stat_result) -> Stat:
    return Stat(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
