"""A folder as a source of documents: its listing, and the content of one file.

Blocking calls, to be made in a thread. A folder that cannot be read is an error of the source and
never looks like an empty one: an empty listing means that the documents were deleted.
"""

# os and os.path, because a Path per file would double the time of a large listing
# ruff: noqa: PTH110, PTH112, PTH113, PTH114, PTH116, PTH118, PTH120

import contextlib
import errno
import os
import stat as stats
from collections.abc import Collection
from pathlib import Path
from typing import Final

from services.producer.sources.folder.ignore_files import TELLING, IgnoreFiles, NotFollowed
from services.producer.sources.folder.links import Links, way_of
from services.producer.sources.folder.snapshot import printable, snapshot, version_of, words
from services.producer.sources.port import (
    Body,
    Scan,
    SourceUnavailable,
    Unreadable,
    Unsettled,
    Version,
)
from services.producer.sources.rules import Chain, LeftOut, Rules, hidden, is_ignored
from shared.domain.errors import DocumentRefused
from shared.domain.formats import LINKS, SPECIAL, is_reason, most_common
from shared.domain.ids import check_path
from shared.openat import open_below
from shared.ports import Selection

LISTINGS: Final = 5
"""Most listings for one scan, while folders go as soon as they were seen."""


BEHIND_A_LINK: Final = LeftOut(
    LINKS,
    "it lies behind a link to a folder",
    "have the folder itself watched, by its own path",
)
NO_FILE: Final = LeftOut(SPECIAL, "it is a pipe, a socket or a device")


class Names:
    """Names on disk that are not in NFC, as they were met.

    A path is in NFC. Names on disk may be in other Unicode forms, and then two names can be one
    path. Which of them counts depends only on the names on the disk: the composed one, else the
    first that exists, in the order of their characters.
    """

    def __init__(self) -> None:
        self._others: dict[str, frozenset[str]] = {}

    def remember(self, relative: str) -> str:
        """The path of a name on disk, both below the root.

        Raises:
            DocumentRefused: it cannot be one.
        """
        if relative.isascii() and len(relative) <= 1000:
            return relative
        path = check_path(relative)
        if path != relative:
            self._others[path] = self._others.get(path, frozenset()) | {relative}
        return path

    def of(self, path: str) -> tuple[str, ...]:
        """All names that a path may have, the one that counts first, if it exists."""
        others = self._others.get(path)
        return (path, *sorted(others)) if others else (path,)

    def on_disk(self, path: str, root: str) -> str:
        """The name that counts now."""
        names = self.of(path)
        if len(names) > 1:
            for name in names:
                if os.path.lexists(os.path.join(root, name)):
                    return name
        return path


class Folder:
    """The documents below one root. Paths are relative to it, with '/', in NFC.

    Args:
        never: folders that are not entered wherever they lie, such as instep's own data.
        gitignore: whether git's ignore files count; `.instepignore` always does.
    """

    def __init__(
        self,
        root: Path,
        rules: Rules,
        *,
        max_bytes: int,
        never: Collection[Path] = (),
        gitignore: bool = True,
    ) -> None:
        self.root = root
        self.rules = rules
        self.ignores = IgnoreFiles(gitignore=gitignore)
        self._shut: frozenset[str] = frozenset()
        """Folders that a rule leaves out, as listings have seen them."""
        self.max_bytes = max_bytes
        self._never = frozenset(os.path.realpath(path) for path in never)
        self._real = os.path.realpath(root)
        self._names = Names()
        self._links = Links()

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

        It is listed again when a folder goes before its turn: it may have a new name that the
        listing did not see, and without it its documents would look deleted.

        Raises:
            SourceUnavailable: the root is missing, unreadable, or was exchanged meanwhile.
        """
        before = self.identity()
        for _ in range(LISTINGS):
            result = Scan()
            went = self._list_below(below, result)
            if not went:
                break
        for path in went:  # their content is not known, if they are elsewhere
            result.closed.add(path)
            result.problems[path] = "cannot be listed: it is named, and gone whenever it is opened"
        if self.identity() != before:
            raise SourceUnavailable(f"{self.root}: exchanged while it was listed")
        if below:
            self._shut = self._shut.difference(result.entered).union(result.shut)
        else:
            self._shut = frozenset(result.shut)
            self.ignores.keep_only(result.entered)
            result.changed_rules = tuple(sorted(self.ignores.changed))
            self.ignores.changed = set()
        return result

    def is_root(self, name: str) -> bool:
        return name in (str(self.root), self._real)

    def path_of(self, name: str) -> str | None:
        """The path of a file system name below the root (absolute), or None if it is ignored:
        outside, hidden, temporary or left out, each on the way of no link, or not valid Unicode."""
        relative = self._relative(name)
        if not relative:
            return None
        try:
            path = self._names.remember(relative)
        except DocumentRefused:
            return None
        is_out = self._is_shut(relative) or any(map(is_ignored, relative.split("/")))
        return None if is_out and not self._links.over(path) else path

    def paths_of(self, name: str) -> set[str]:
        """The paths that an event of this name may be about.

        The system tells a file in a folder to which a link leads by one of the names of the folder.
        """
        found = {self.path_of(name)}
        relative = self._relative(name)
        if relative and "/" in relative:
            parent, _, last = relative.rpartition("/")
            real = os.path.realpath(os.path.join(self._real, parent))
            if real != os.path.join(self._real, parent):
                self._links.to_folders.update(_links_in(self._real, parent))
                found.add(self.path_of(os.path.join(real, last)))
        return {path for path in found if path is not None}

    def relinked(self, names: Collection[str]) -> bool:
        """Whether one of these names with an event is that of a link that led to a folder."""
        changed = self._links.to_folders.intersection(map(self._relative, names))
        self._links.to_folders -= changed  # the next listing meets those that are there
        return bool(changed)

    def decides(self, name: str) -> bool:
        """Whether it depends on this file (an absolute name) which others are documents."""
        relative = self._relative(name)
        if not self.ignores.is_followed(relative):
            return False
        # the mark of a folder may go, and the folder is left out because of it
        folder = relative[: max(0, relative.rfind("/"))]
        return not self._is_shut(folder if folder in self._shut else relative)

    def why_not(self, path: str) -> LeftOut | None:
        """The rule that leaves out the document of a path, whatever lies there now.

        Raises:
            Unreadable: an ignore file that may decide cannot be read.
        """
        found = self._why_not_of(path[: max(0, path.rfind("/"))])
        name = path[path.rfind("/") + 1 :]
        if found is None and is_ignored(name):
            found = hidden(name)
        return found or self.rules.why_not_file(path, self._chain_around(path))

    def explain(self, path: str) -> Selection:
        """Whether a rule leaves out what lies at a path, and what is left out below it.

        Raises:
            SourceUnavailable: the root cannot be listed.
            Unreadable: an ignore file that may decide cannot be read.
        """
        try:
            path = check_path(path) if path else ""
        except DocumentRefused:
            return Selection(exists=False)
        full = self._on_disk(path) if path else self._real
        if not os.path.lexists(full):
            return Selection(exists=False)
        if self._leads_through_a_link(os.path.dirname(full)):
            return Selection(exists=True, why=BEHIND_A_LINK.why, fix=BEHIND_A_LINK.fix)
        if os.path.isdir(full) and not os.path.islink(full):
            why = self._why_not_of(path)
            scan = Scan()
            if why is None:  # not `scan`, which is for the one that watches
                self.identity()
                self._list_below(path, scan)
            counts = most_common(scan.left_out)
            rule = why or LeftOut("", "")
            return Selection(True, True, rule.why, rule.fix, counts, scan.reasons)
        if why := self._why_no_document(path, full):
            return Selection(exists=True, why=why.why, fix=why.fix)
        return Selection(exists=True)

    def unwanted(self, paths: Collection[str]) -> dict[str, LeftOut]:
        """Those of the paths that a rule leaves out: their documents are not missing.

        Rules that lie in the folder itself decide about files that are there: an ignore file may
        come, or stay, where a program has wiped the folder.
        """
        found = dict[str, LeftOut]()
        for path in paths:
            with contextlib.suppress(Unreadable):
                why = self.why_not(path)
                if why and (self.rules.why_not(path) or os.path.lexists(self._on_disk(path))):
                    found[path] = why
        return found

    def look(self, path: str) -> Version | None:
        """The file's stat, or None when no document has this path now."""
        if self.why_not(path) is not None or not self._folders_are_entered(path):
            return None
        try:
            found = os.lstat(self._on_disk(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unreadable(f"{path}: {words(error)}") from None
        if stats.S_ISLNK(found.st_mode):
            return self._target(path)
        return version_of(found) if stats.S_ISREG(found.st_mode) else None

    def peek(self, path: str) -> Version | None:
        """The file's stat as one system call can tell it: for its age, not for deciding."""
        try:
            return version_of(os.lstat(self._on_disk(path)))
        except OSError:
            return None

    def is_folder(self, path: str) -> bool:
        """Whether a folder that is listed has this path now."""
        full = self._on_disk(path)
        if not os.path.isdir(full) or os.path.islink(full):
            return False
        with contextlib.suppress(Unreadable):
            return self._may_enter(path)
        return False

    def links_to(self, path: str) -> frozenset[str]:
        """Documents that are links, as they were last looked at, with this name on their way."""
        return frozenset(self._links.over(path))

    def read(self, path: str, *, growing: bool = False) -> Body | None:
        """Content and stat of one moment, or None when no document has this path now.

        Args:
            growing: a file that only grows is taken as it was when the reading began.

        Raises:
            Unsettled: it changed meanwhile.
            Unreadable: it is there and cannot be read.
        """
        if self.look(path) is None:
            return None
        full = self._on_disk(path)
        try:
            real = os.path.realpath(full) if os.path.islink(full) else full
            if not self._is_inside(real):
                return None
            with open_below(self._real, real[len(self._real) + 1 :]) as file:
                return snapshot(path, file, full, max_bytes=self.max_bytes, growing=growing)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:  # the file is a link by now
                raise Unsettled(f"{path}: exchanged before it was read") from None
            raise Unreadable(f"{path}: {words(error)}") from None

    def opens(self, path: str) -> bool:
        """Whether a file or folder can be read by now; one that is gone counts as readable."""
        try:
            real = os.path.realpath(self._on_disk(path))
            mode = os.stat(real).st_mode
            if stats.S_ISDIR(mode):
                with os.scandir(real) as entries:
                    next(entries, None)
                self.ignores.of(self._real, path, self._names.on_disk(path, self._real))
            elif stats.S_ISREG(mode) and self._is_inside(real):
                with open_below(self._real, real[len(self._real) + 1 :]) as file:
                    os.read(file, 1)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except (OSError, NotFollowed):
            return False
        return True

    # -- inside ------------------------------------------------------------------------------------

    def _list_below(self, below: str, result: Scan) -> set[str]:
        """Folders that were seen on the way, and were gone when it was their turn."""
        first = self._names.of(below) if self._may_enter(below) else ()
        waiting, went = list(first), set[str]()
        while waiting:
            folder = waiting.pop()
            if not self._list(folder, waiting, result) and folder not in first:
                went.add(self._names.remember(folder))
        return went

    def _list(self, folder: str, waiting: list[str], result: Scan) -> bool:
        """List a folder, by its name on disk; those in it that are entered wait.

        Returns:
            Whether it is still there.
        """
        path = self._names.remember(folder)
        try:
            with os.scandir(os.path.join(self._real, folder)) as listed:
                entries = list(listed)
            telling = {entry.name for entry in entries if entry.name in TELLING}
            chain, mark = self.ignores.enter(self._real, path, folder, telling)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (OSError, NotFollowed) as error:
            self._cannot_list(path, error, result)
            return True
        result.entered.add(path)
        if mark and (why := self.rules.why_not_marked(path, mark)):
            result.leave_out(path, why, folder=True)
            return True
        for entry in entries:
            if entry.is_symlink() and os.path.isdir(entry.path):
                self._links.to_folders.add(f"{folder}/{entry.name}" if folder else entry.name)
            if not is_ignored(entry.name):
                self._take(entry, folder, chain, waiting, result)
        return True

    def _cannot_list(self, path: str, error: OSError | NotFollowed, result: Scan) -> None:
        problem = words(error) if isinstance(error, OSError) else str(error)
        if not path:
            raise SourceUnavailable(f"{self.root}: {problem}") from None
        result.closed.add(path)
        result.problems[path] = f"cannot be listed: {problem}"

    def _take(
        self,
        entry: os.DirEntry[str],
        folder: str,
        chain: Chain,
        waiting: list[str],
        result: Scan,
    ) -> None:
        name = f"{folder}/{entry.name}" if folder else entry.name
        try:
            path = self._names.remember(name)
        except DocumentRefused as refusal:
            wanted = self.rules.why_not_file(printable(entry.name), ()) is None
            if wanted or entry.is_dir(follow_symlinks=False):
                result.problems[printable(name)] = str(refusal)
            return
        try:
            if entry.is_dir(follow_symlinks=False):
                self._take_folder(path, name, chain, waiting, result)
                return
            found = self._take_file(entry, path, chain, result)
        except FileNotFoundError:
            return
        except (OSError, Unreadable) as error:
            result.closed.add(path)
            result.problems[path] = str(error)
            return
        if found is not None and self._counts(path, name, result):
            result.files[path] = found

    def _take_folder(
        self, path: str, name: str, chain: Chain, waiting: list[str], result: Scan
    ) -> None:
        if why := self.rules.why_not_folder(path, chain):
            result.leave_out(path, why, folder=True)
        elif not self._is_never(self._on_disk(path)):
            waiting.append(name)

    def _take_file(
        self, entry: os.DirEntry[str], path: str, chain: Chain, result: Scan
    ) -> Version | None:
        why = self.rules.why_not_file(path, chain)
        found = None
        if entry.is_symlink():
            found = self._target(path) if why is None else None
            if found is None and not (why and is_reason(why.kind)):
                why = self._why_not_followed(path) or why
        elif why is None:
            found = version_of(entry.stat(follow_symlinks=False))
            if not entry.is_file(follow_symlinks=False):
                found, why = None, NO_FILE
        if found is None and why is not None:
            result.leave_out(path, why)
        return found

    def _counts(self, path: str, name: str, result: Scan) -> bool:
        """Whether it is this name on disk that has the path, of two in different forms."""
        if path not in result.files:
            return True
        result.problems[path] = "two files have this name in different Unicode forms"
        return name == self._names.on_disk(path, self._real)

    def _target(self, path: str) -> Version | None:
        """Version of the target of a link, if that is a file inside the root."""
        self._follow(path)
        try:
            real = os.path.realpath(self._on_disk(path))
            if not self._is_inside(real):
                return None
            found = os.stat(real)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unreadable(f"{path}: {words(error)}") from None
        return version_of(found) if stats.S_ISREG(found.st_mode) else None

    def _follow(self, path: str) -> None:
        """Note the way of a link, also of one that leads nowhere now: its file may come later."""
        met, links = way_of(self._real, self._names.on_disk(path, self._real))
        places = list[str]()
        for name in met:
            with contextlib.suppress(DocumentRefused):
                places.append(self._names.remember(name))
        self._links.lead(path, places)
        self._links.to_folders.update(
            link for link in links if os.path.isdir(os.path.join(self._real, link))
        )

    def _why_no_document(self, path: str, full: str) -> LeftOut | None:
        """Why there is no document for what is there, and is no folder."""
        rule = self.why_not(path)
        if os.path.islink(full) and not (rule and is_reason(rule.kind)):
            return self._why_not_followed(path) or rule
        if rule is None and not stats.S_ISREG(os.lstat(full).st_mode):
            return NO_FILE
        return rule

    def _why_not_followed(self, path: str) -> LeftOut | None:
        """Why a link leads to no document; None: it leads to a file inside the root."""
        real = os.path.realpath(self._on_disk(path))
        if os.path.islink(real):
            return LeftOut(LINKS, "it is a link that leads to itself", "let it lead to a file")
        if not os.path.exists(real):
            return LeftOut(LINKS, "it is a link to nothing", "put back what it leads to")
        if real == self._real or (os.path.isdir(real) and self._is_inside(real)):
            return LeftOut(LINKS, "it is a link to a folder of this source, which has its own path")
        if os.path.isdir(real):
            return LeftOut(LINKS, "it is a link to a folder outside", BEHIND_A_LINK.fix)
        if not self._is_inside(real):
            fix = "put the file in its place, or have the folder of the file watched"
            return LeftOut(LINKS, "it is a link to a file outside of the folder", fix)
        return None if os.path.isfile(real) else NO_FILE

    def _on_disk(self, path: str) -> str:
        return os.path.join(self._real, self._names.on_disk(path, self._real))

    def _may_enter(self, path: str) -> bool:
        return self._why_not_in(path) is None and not self._is_never(self._on_disk(path))

    def _why_not_in(self, folder: str) -> LeftOut | None:
        """The rule for which a listing would not come to the files of a folder."""
        at = ""
        for name in folder.split("/") if folder else ():
            around, at = at, f"{at}/{name}" if at else name
            if is_ignored(name):
                return hidden(name)
            chain, mark = self._ignores_of(around)
            why = self.rules.why_not_marked(around, mark) if mark else None
            if why := why or self.rules.why_not_folder(at, chain):
                return why
        return None

    def _why_not_of(self, folder: str) -> LeftOut | None:
        """The same, also for a mark that lies in this very folder."""
        if why := self._why_not_in(folder):
            return why
        _, mark = self._ignores_of(folder)
        return self.rules.why_not_marked(folder, mark) if mark else None

    def _chain_around(self, path: str) -> Chain:
        return self._ignores_of(path[: max(0, path.rfind("/"))])[0]

    def _ignores_of(self, folder: str) -> tuple[Chain, str]:
        try:
            on_disk = self._names.on_disk(folder, self._real)
            return self.ignores.of(self._real, folder, on_disk)
        except NotFollowed as error:
            raise Unreadable(str(error)) from None

    def _relative(self, name: str) -> str:
        """An absolute name below the root; empty where it is not below it."""
        for root in (str(self.root), self._real):
            if name.startswith(root + os.sep):
                return name[len(root) + 1 :].replace(os.sep, "/")
        return ""

    def _is_shut(self, relative: str) -> bool:
        """Whether it lies in a folder that is left out, so that its events mean nothing."""
        at = relative.rfind("/") if self._shut else -1
        while at > 0:
            relative = relative[:at]
            if relative in self._shut:
                return True
            at = relative.rfind("/")
        return False

    def _folders_are_entered(self, path: str) -> bool:
        """Whether no link, and none of the folders that are never entered, is on the way."""
        full = os.path.dirname(self._on_disk(path))
        return not self._is_never(full) and not self._leads_through_a_link(full)

    def _leads_through_a_link(self, folder: str) -> bool:
        """Whether a link lies on the way from the root to a folder below it, or is that folder."""
        while len(folder) > len(self._real):
            if os.path.islink(folder):
                return True
            folder = os.path.dirname(folder)
        return False

    def _is_inside(self, real: str) -> bool:
        return real.startswith(self._real + os.sep) and not self._is_never(real)

    def _is_never(self, full: str) -> bool:
        return any(full == never or full.startswith(never + os.sep) for never in self._never)


def _links_in(root: str, name: str) -> set[str]:
    """The links among a folder and those that it lies in, by their names below the root."""
    parts = name.split("/")
    names = ("/".join(parts[:n]) for n in range(1, len(parts) + 1))
    return {name for name in names if os.path.islink(os.path.join(root, name))}
