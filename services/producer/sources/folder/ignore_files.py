"""The ignore files of a folder, read when it is listed and kept for single paths.

Blocking calls, to be made in a thread. An ignore file that is there and cannot be followed is an
error: without its rules a folder would take in what they keep out, and with those of an earlier
reading it would leave out what they do not name any more.
"""

# os and os.path, as in the listing: these calls are made for every folder
# ruff: noqa: PTH118

import errno
import os
import stat as stats
from collections.abc import Collection
from typing import Final

from services.producer.sources.folder.snapshot import words
from services.producer.sources.patterns import Patterns, parse_lines
from services.producer.sources.rules import MARKS, Chain
from shared.domain.errors import TransientError
from shared.openat import open_below

GIT: Final = ".gitignore"
OWN: Final = ".instepignore"
REPOSITORY: Final = ".git"
EXCLUDES: Final = ".git/info/exclude"
TAG: Final = "CACHEDIR.TAG"
SIGNATURE: Final = b"Signature: 8a477f597d28d172789f06886806bc55"
"""The first bytes of a `CACHEDIR.TAG`; without them it is a file like others."""
NO_PLAIN_FILE: Final = (errno.ELOOP, errno.EISDIR, errno.ENXIO)
"""Errors of opening or reading a link, a folder or a socket."""
MOST_BYTES: Final = 64 * 1024
"""Of an ignore file; its patterns are tried on every file."""
TELLING: Final = frozenset({GIT, OWN, REPOSITORY, *MARKS})
"""Names in a folder that decide about its files."""


class NotFollowed(TransientError):
    """An ignore file is there, and its rules are not known."""


class IgnoreFiles:
    """`gitignore`: whether git's own files are followed beside `.instepignore`."""

    def __init__(self, *, gitignore: bool = True) -> None:
        self.changed: set[str] = set()
        """Ignore files that a listing found changed, of folders that it knew already."""
        self._gitignore = gitignore
        self._folders: dict[str, tuple[Chain, str]] = {}
        """By folder: the files that are about it, and its mark, if it has one."""
        self._patterns: dict[str, tuple[bytes, Patterns]] = {}
        """By ignore file: its content, and the patterns in it."""

    def of(self, root: str, folder: str, on_disk: str) -> tuple[Chain, str]:
        """Files and mark of a folder, as the last listing saw them.

        Raises:
            NotFollowed: one of the files cannot be read.
        """
        known = self._folders.get(folder)
        if known is None:
            full = os.path.join(root, on_disk)
            there = {name for name in TELLING if os.path.lexists(os.path.join(full, name))}
            known = self.enter(root, folder, on_disk, there)
        return known

    def enter(
        self, root: str, folder: str, on_disk: str, names: Collection[str]
    ) -> tuple[Chain, str]:
        """Read the files of a folder anew.

        Args:
            folder: its path; empty for the root.
            on_disk: its name below the root.
            names: the names of TELLING that it holds.

        Raises:
            NotFollowed: one of them cannot be read.
        """
        around: Chain = ()
        if folder:
            cut = max(0, folder.rfind("/"))
            around, _ = self.of(root, folder[:cut], on_disk[: max(0, on_disk.rfind("/"))])
        marks = (name for name in MARKS if folder and name in names)
        mark = next((name for name in marks if _is_mark(root, on_disk, name)), "")
        before = self._folders.pop(folder, None)
        read = self._read(root, folder, on_disk, names, known=before is not None)
        chain = tuple(sorted([*read, *around], key=_rank)) if read else around
        self._folders[folder] = chain, mark
        return chain, mark

    def keep_only(self, folders: Collection[str]) -> None:
        """Forget the folders that a listing of everything did not come to."""
        self._folders = {one: self._folders[one] for one in folders if one in self._folders}
        for name in list(self._patterns):
            if _folder_of(name) not in self._folders:
                del self._patterns[name]

    def is_followed(self, relative: str) -> bool:
        """Whether a name below the root is one of the files, or a mark."""
        name = relative[relative.rfind("/") + 1 :]
        if name == OWN or name in MARKS:
            return True
        is_excludes = relative == EXCLUDES or relative.endswith(f"/{EXCLUDES}")
        return self._gitignore and (name == GIT or is_excludes)

    # -- inside ------------------------------------------------------------------------------------

    def _read(
        self, root: str, folder: str, on_disk: str, names: Collection[str], *, known: bool
    ) -> list[Patterns]:
        def one(name: str, *, there: bool) -> Patterns:
            path = f"{folder}/{name}" if folder else name
            disk = os.path.join(on_disk, name)
            return self._file(root, path, disk, folder, there=there, known=known)

        read = [
            one(OWN, there=OWN in names),
            one(GIT, there=self._gitignore and GIT in names),
            one(EXCLUDES, there=self._gitignore and REPOSITORY in names),
        ]
        return [patterns for patterns in read if patterns]

    def _file(
        self, root: str, path: str, disk: str, folder: str, *, there: bool, known: bool
    ) -> Patterns:
        before = self._patterns.get(path)
        data = _content(root, path, disk) if there else b""
        if before is not None and before[0] == data:
            return before[1]
        if known and (data or before):
            self.changed.add(path)
        name = path[len(folder) + 1 :] if folder else path
        patterns = Patterns(
            parse_lines(data.decode("utf-8", "replace")) if data else (), origin=name, base=folder
        )
        if data:
            self._patterns[path] = data, patterns
        else:
            self._patterns.pop(path, None)
        return patterns


def _rank(patterns: Patterns) -> int:
    """`.instepignore` of any folder goes before `.gitignore` of any; nearer ones stay in front."""
    return (OWN, GIT, EXCLUDES).index(patterns.origin)


def _folder_of(path: str) -> str:
    name = EXCLUDES if path.endswith(EXCLUDES) else path[path.rfind("/") + 1 :]
    return path[: -len(name)].rstrip("/")


def _is_mark(root: str, folder: str, name: str) -> bool:
    """Whether a file of MARKS marks its folder; one that cannot be read does."""
    if name != TAG:
        return True
    try:
        with open_below(root, os.path.join(folder, name)) as file:
            return os.read(file, len(SIGNATURE)) == SIGNATURE
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        return error.errno not in NO_PLAIN_FILE


def _content(root: str, path: str, disk: str) -> bytes:
    """Empty where it is not there, and where it is no file of this root, as git has it."""
    real = os.path.realpath(os.path.join(root, disk))
    if not real.startswith(root + os.sep):
        return b""
    try:
        with open_below(root, real[len(root) + 1 :]) as file:
            if not stats.S_ISREG(os.fstat(file).st_mode):
                return b""
            data = _all_of(file)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        # a repository may be closed to others; its private excludes are then its owner's alone
        if path.endswith(EXCLUDES) or error.errno in NO_PLAIN_FILE:
            return b""
        raise NotFollowed(f"{path} cannot be read: {words(error)}") from None
    if len(data) > MOST_BYTES:
        raise NotFollowed(f"{path} is larger than {MOST_BYTES // 1024} KB: make it shorter")
    return data


def _all_of(file: int) -> bytes:
    data = b""
    while len(data) <= MOST_BYTES and (more := os.read(file, MOST_BYTES + 1)):
        data += more
    return data
