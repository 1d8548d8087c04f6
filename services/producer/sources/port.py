"""The port of sources: what the watch asks of a folder, a bucket, or anything that holds documents.

Listings are the truth, and hints only say where to look. A source that cannot be listed raises
`SourceUnavailable`: an empty listing means that the documents were deleted.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from services.producer.sources.rules import LeftOut, Rules
from shared.domain.errors import TransientError
from shared.domain.events import Metadata
from shared.domain.formats import FOLDERS
from shared.domain.ids import content_hash
from shared.ports import Selection

Root = tuple[int, int]
"""The identity of the place, such as device and inode of a folder: another one has other documents
under the same names."""


class SourceUnavailable(TransientError):
    """The source is missing or cannot be read; the state of its documents is not known."""


class Unreadable(TransientError):
    """The document is there and cannot be read: permissions, or an error of the disk."""


class Unsettled(TransientError):
    """The document changed while it was read; another program is still writing it."""


class Version(NamedTuple):
    """A state of a document, without its content. Times in ns since 1970; 0: not known.

    Two equal versions of a path have one content, unless the second was written within the
    resolution of the clock (`RACY_NS`).
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    identity: int
    """The same wherever the document is moved to: the inode of a file, the ETag of an object."""

    @property
    def changed_ns(self) -> int:
        return max(self.mtime_ns, self.ctime_ns)


@dataclass(frozen=True, slots=True)
class Given:
    """What a source tells about a document beside its content."""

    title: str | None = None
    media_type: str | None = None
    """Of the content; None: the ending of the path decides."""
    metadata: Metadata = field(default_factory=dict)
    static_score: float | None = None
    is_active: bool = True


def hash_of(data: bytes, given: Given) -> str:
    """The hash of a document with what its source tells about it; of one without, of its bytes."""
    if given == Given():
        return content_hash(data)
    # not by asdict, which copies what is in the metadata, for each of 100,000 records
    fields = {name: getattr(given, name) for name in Given.__slots__}
    told = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    return content_hash(len(told).to_bytes(8) + told + data)


@dataclass(frozen=True, slots=True)
class Body:
    """A document at one moment. `data`: None when it is larger than the limit."""

    version: Version
    read_at_ns: int
    content_hash: str
    """By `hash_of`: equal hashes mean that nothing has changed."""
    data: bytes | None
    url: str
    grows: bool = False
    """It is being written: `data` is its content of a moment ago, up to the end of a line."""
    given: Given = Given()


@dataclass(slots=True)
class Scan:
    """The documents of a source, or of a part of it."""

    files: dict[str, Version] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    """Path to its fault, in words for people."""
    closed: set[str] = field(default_factory=set)
    """Folders that could not be listed: their content is not known."""
    sealed: set[str] = field(default_factory=set)
    """Files that hold other documents and could not be split."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Files that are no documents by their ending, or by a rule, by ending or reason; a folder that
    is left out counts as one, under its reason with FOLDERS in front."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Some of them, each with its reason in words; a folder has a slash at its end."""
    entered: set[str] = field(default_factory=set)
    """Folders that were listed."""
    shut: set[str] = field(default_factory=set)
    """Folders that a rule leaves out."""
    changed_rules: tuple[str, ...] = ()
    """Files with rules, such as `.gitignore`, that are not as the listing before found them."""

    def leave_out(self, path: str, why: LeftOut, *, folder: bool = False) -> None:
        self.left_out[f"{FOLDERS}{why.kind}" if folder else why.kind] += 1
        if folder:
            self.shut.add(path)
        if len(self.reasons) < REASONS_TOLD:
            self.reasons[f"{path}/" if folder else path] = why.why

    def knows(self, path: str) -> bool:
        """Whether the absence of a path from `files` means that it is not there."""
        if self.sealed and any(one in self.sealed for one in cut_at(path, "#")):
            return False
        return not self.closed or not any(one in self.closed for one in cut_at(path, "/"))

    def judge(self, missing: Iterable[str]) -> tuple[list[str], list[str]]:
        """Of paths that are not in `files`: those that are gone, and those not known about."""
        gone, unseen = list[str](), list[str]()
        for path in missing:
            (gone if self.knows(path) else unseen).append(path)
        return gone, unseen


def cut_at(path: str, mark: str) -> Iterator[str]:
    """What lies before each mark of a path, and the path itself."""
    at = path.find(mark)
    while at >= 0:
        yield path[:at]
        at = path.find(mark, at + 1)
    yield path


@dataclass(frozen=True, slots=True)
class Looked:
    """What some paths are now: documents that are there, known ones that are gone, and faults."""

    root: Root
    present: dict[str, Version] = field(default_factory=dict)
    vanished: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    """Of documents that cannot be looked at."""
    closed: dict[str, str] = field(default_factory=dict)
    """Of folders, and of names below them, as a listing of these shows them."""
    blocked: set[str] = field(default_factory=set)
    """Documents and folders that are there and cannot be read."""


def looked_one_by_one(
    root: Root,
    look: Callable[[str], Version | None],
    known: Collection[str],
    paths: Collection[str],
) -> Looked:
    """Look at each path; `look` gives None for one that is gone, and may raise Unreadable."""
    found = Looked(root)
    for path in sorted(paths):
        try:
            version = look(path)
        except Unreadable as error:
            found.problems[path] = str(error)
            found.blocked.add(path)
            continue
        if version is not None:
            found.present[path] = version
        elif path in known:
            found.vanished.append(path)
    return found


@dataclass(frozen=True, slots=True)
class Heard:
    """What some hints are about."""

    paths: Mapping[str, Version | None] = field(default_factory=dict)
    """Where to look; each with its version as far as one glance tells it, for its age."""
    rules: bool = False
    """Files with rules have changed: what is a document may be another question now."""
    relinked: bool = False
    """A link that led to a folder has changed: the whole source is to be listed soon."""
    root: bool = False
    """The place itself has changed: the whole source is to be listed now."""


class DocumentSource(Protocol):
    """Blocking calls, to be made in a thread, but for `meaning`."""

    rules: Rules
    max_bytes: int
    """Larger documents are not read."""

    @property
    def place(self) -> str:
        """Where it is, for people: a folder, the address of a bucket."""

    def identity(self) -> Root:
        """Raises SourceUnavailable."""

    def scan(self) -> Scan:
        """All documents. Raises SourceUnavailable: the listing did not come to its end."""

    def look_at(self, known: Collection[str], paths: Collection[str]) -> Looked:
        """Look at each path: a document, a folder with all below it, or a path that is gone.

        Raises:
            SourceUnavailable: then no document counts as vanished.
        """

    def read(self, path: str, *, growing: bool = False) -> Body | None:
        """Content and version of one moment, or None when no document has this path now.

        Args:
            growing: a document that only grows is taken as it was when the reading began.

        Raises:
            Unsettled: it changed meanwhile.
            Unreadable: it is there and cannot be read.
            SourceUnavailable: nothing is known about it.
        """

    def opened(self, blocked: Collection[str]) -> tuple[bool, bool]:
        """Whether any of them can be read by now, and whether one is a folder."""

    def unwanted(self, paths: Collection[str]) -> dict[str, LeftOut]:
        """Those of the paths that a rule leaves out: their documents are not missing."""

    def explain(self, path: str) -> Selection:
        """Whether a rule leaves out what lies at a path, and what is left out below it.

        Raises:
            SourceUnavailable: the source cannot be listed.
            Unreadable: a file with rules that may decide cannot be read.
        """

    def meaning(self, names: Collection[str]) -> Heard:
        """What hints with these names are about. Does not wait for anything."""


class Hints(Protocol):
    """Names of what may have changed, for speed. A hint may come late, twice, or never."""

    anew: bool
    """Hints may be about another place by now, and are asked for anew before the next listing."""

    async def start(self, heard: Callable[[Collection[str]], None]) -> None:
        """Begin to pass on names, where that is possible."""

    async def stop(self) -> None: ...

    async def watch_the_same(self, root: Root) -> None:
        """Be sure that hints are about the place that is about to be listed.

        Raises:
            SourceUnavailable: it could not be watched.
        """

    def interval(self, took_s: float, *, waits: bool) -> float:
        """Seconds until the next listing.

        Args:
            took_s: how long the last one took.
            waits: a hold waits for documents to come back.
        """


REASONS_TOLD: Final = 100
LISTING_SHARE: Final = 0.05
"""Most of the time that listing may take when there are no hints."""
