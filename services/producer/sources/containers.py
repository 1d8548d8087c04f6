"""The documents that lie inside the files of another source: attachments, and records.

A document has the path of its file, `#` and its name: `mail.eml#report.pdf`, `prices.csv#4711`. A
file is split when its version is another one. A file that cannot be split says nothing about its
documents: none of them counts as gone.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from services.producer.sources.listing import RACY_NS
from services.producer.sources.port import (
    Body,
    DocumentSource,
    Given,
    Heard,
    Looked,
    Root,
    Scan,
    SourceUnavailable,
    Unreadable,
    Unsettled,
    Version,
    hash_of,
)
from services.producer.sources.rules import LeftOut
from shared.domain.errors import DocumentRefused, TransientError
from shared.domain.formats import EXCLUDED, ending
from shared.domain.formats import kind_of as ending_of
from shared.domain.ids import check_document_path, is_url
from shared.formats.containers import ENDINGS, Fields, FilePart, Parts, kind_of
from shared.ports import Selection
from shared.reading.parts_protocol import SplitQuestion

KEPT: Final = 4
"""Files whose documents stay in memory, for the reading that follows a listing."""
AT_ONCE: Final = 2
"""Files that are in memory to be split; so many processes split them."""
CONFIRMED_S: Final = 1.0
"""How long a file counts as unchanged without another look, while its documents are read. A look
at a page of the web asks for its sitemap, too: there, until the next listing."""

_LONGEST: Final = max(map(len, ENDINGS))

Split = Callable[[SplitQuestion, bytes], Parts]
"""The documents of a file; blocks. Raises DocumentRefused, TransientError."""


@dataclass(slots=True)
class Contents:
    """What a file held when it was split."""

    version: Version
    read_at_ns: int
    content_hash: str
    """Of the file."""
    url: str
    fault: str | None = None
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    """By path."""
    refused: DocumentRefused | None = None
    versions: dict[str, Version] = field(default_factory=dict)
    looked_at: float = field(default_factory=time.monotonic)

    @property
    def is_surely_of(self) -> Version | None:
        """The version of the file that surely has these contents."""
        settled = self.version.changed_ns + RACY_NS <= self.read_at_ns
        return self.version if settled else None


class ContainerSource:
    """A source, and the documents inside its files.

    Implements `services.producer.sources.port.DocumentSource`.

    Args:
        fields: of records; None: files of records are documents as a whole.
        confirmed_s: as CONFIRMED_S.
    """

    def __init__(
        self,
        source: DocumentSource,
        split: Split,
        fields: Fields | None,
        confirmed_s: float = CONFIRMED_S,
    ) -> None:
        self._source, self._split, self._fields = source, split, fields
        self._confirmed_s = confirmed_s
        self._contents: dict[str, Contents] = {}
        self._parts: OrderedDict[str, Mapping[str, FilePart]] = OrderedDict()
        """By file and path; the file that was used longest ago comes first."""
        self._lock = threading.Lock()
        """Of what is in memory; held for a moment, never while a file is read or split."""
        self._turns: dict[str, threading.Lock] = {}
        """Of each file: the threads that want its documents wait for one of them to split it."""
        self._splits = threading.BoundedSemaphore(AT_ONCE)
        self.rules, self.max_bytes = source.rules, source.max_bytes

    @property
    def place(self) -> str:
        return self._source.place

    def identity(self) -> Root:
        return self._source.identity()

    def meaning(self, names: Collection[str]) -> Heard:
        return self._source.meaning(names)

    def scan(self) -> Scan:
        found = self._source.scan()
        containers = {path: v for path, v in found.files.items() if self._kind(path)}
        for path in [path for path in found.files if self._holder(path)]:
            # the name of an attachment, or of a record: one of them would hide the other
            found.problems[path] = "a file with this name would hide a document inside another file"
            del found.files[path]
        for path, version in containers.items():
            if self._kind(path) == "records":
                del found.files[path]
            try:
                contents = self._of(path, version)[0]
            except SourceUnavailable:
                raise
            except (TransientError, DocumentRefused) as error:
                found.sealed.add(path)
                found.problems[path] = str(error).removeprefix(f"{path}: ")
                continue
            if contents is not None:
                self._add(path, contents, found)
        for path in (self._contents.keys() | self._turns.keys()) - containers.keys():
            self._forget(path)
        return found

    def look_at(self, known: Collection[str], paths: Collection[str]) -> Looked:
        wanted = {self._holder(path) or path for path in paths}
        judged = set[str]()
        found = self._source.look_at(_WithContainers(known, self._contents), wanted)
        gone = [path for path in found.vanished if self._kind(path)]
        found.vanished[:] = [path for path in found.vanished if path in known]
        for path in [path for path in found.present if self._kind(path)]:
            version = found.present[path]
            if self._kind(path) == "records":
                del found.present[path]
            try:
                contents = self._of(path, version)[0]
            except SourceUnavailable:
                raise
            except Unsettled:
                continue  # there are more hints to come
            except (TransientError, DocumentRefused) as error:
                found.problems[path] = str(error).removeprefix(f"{path}: ")
                continue
            judged.add(path)
            parts = contents.versions if contents else {}
            found.present.update(parts)
            found.vanished.extend(p for p in _parts_of(path, known) if p not in parts)
        for path in gone:
            judged.add(path)
            self._forget(path)
            found.vanished.extend(_parts_of(path, known))
        found.vanished[:] = [
            path
            for path in dict.fromkeys(found.vanished)
            if path not in found.present
            and ((holder := self._holder(path)) is None or holder in judged)
        ]
        return found

    def read(self, path: str, *, growing: bool = False) -> Body | None:
        container = self._holder(path)
        if container is None:
            if self._kind(path) == "records":
                return None
            return self._source.read(path, growing=growing)
        try:
            contents, parts = self._of(container, None)
        except DocumentRefused as error:
            raise Unreadable(f"{path}: {error}") from None
        part = parts.get(path)
        if contents is None or part is None:
            return None
        given = _given(part)
        return Body(
            version=_version(part),
            read_at_ns=contents.read_at_ns,
            content_hash=hash_of(part.data, given),
            data=part.data if len(part.data) <= self.max_bytes else None,
            url=f"{contents.url}#{part.name}",
            given=given,
        )

    def opened(self, blocked: Collection[str]) -> tuple[bool, bool]:
        return self._source.opened({self._holder(path) or path for path in blocked})

    def unwanted(self, paths: Collection[str]) -> dict[str, LeftOut]:
        found = self._source.unwanted([path for path in paths if not self._holder(path)])
        containers = {c for path in paths if (c := container_of(path))}
        outside = self._source.unwanted(containers) | self._whole(containers)
        for path in paths:
            container = container_of(path)
            if container is None:
                if self._kind(path) == "records":
                    found[path] = LeftOut(EXCLUDED, "each of its records is a document")
            elif why := outside.get(container) or self._excluded(path):
                found[path] = why
        return found

    def explain(self, path: str) -> Selection:
        container = self._holder(path)
        if container is None:
            return self._source.explain(path)
        found = self._source.explain(container)
        if found.exists and not found.why and (why := self._excluded(path)):
            return Selection(exists=True, why=why.why, fix=why.fix)
        contents = self._contents.get(container)
        return found if contents and path in contents.versions else Selection(exists=False)

    # -- files that hold documents -----------------------------------------------------------------

    def _kind(self, path: str) -> str | None:
        if container_of(path):
            return None
        return kind_of(path, records=self._fields is not None)

    def _holder(self, path: str) -> str | None:
        """The file in which a document lies; None for one that is a file."""
        container = container_of(path)
        return container if container is not None and self._kind(container) else None

    def _excluded(self, path: str) -> LeftOut | None:
        return self.rules.excludes(path) if self._holder(path) else None

    def _whole(self, containers: Collection[str]) -> dict[str, LeftOut]:
        """Files that are documents as a whole now. Where such a file is there, what seems to lie in
        it was a record of the time before; else it may have been a file with such a name."""
        whole = {path for path in containers if not self._kind(path)}
        there = self._source.look_at((), whole).present if whole else {}
        return {path: LeftOut(EXCLUDED, "`records` of the source is off") for path in there}

    def _add(self, path: str, contents: Contents, found: Scan) -> None:
        found.files.update(contents.versions)
        if contents.fault:
            found.problems[path] = contents.fault
        for part, why in contents.left_out.items():
            found.leave_out(part, why)

    def _of(
        self, path: str, version: Version | None
    ) -> tuple[Contents | None, Mapping[str, FilePart]]:
        """The contents of a file, None when it is not there, and its documents.

        Args:
            version: as a look at the file has just told it; None: its documents are wanted.

        Raises:
            DocumentRefused: it cannot be split.
            Unreadable, Unsettled, SourceUnavailable: of the source.
            TransientError: of the process that splits.
        """
        with self._turns.setdefault(path, threading.Lock()):
            held, parts = self._contents.get(path), self._kept(path)
            if version is None:
                if held and parts and time.monotonic() - held.looked_at < self._confirmed_s:
                    return held, parts
                version = self._look(path)
                if version is None:
                    return None, {}
                enough = bool(parts) or bool(held and held.refused)
            else:
                enough = True
            if held and enough and held.is_surely_of == version:
                held.looked_at = time.monotonic()
            else:
                held, parts = self._read_anew(path, held if enough else None, parts)
        if held and held.refused:
            raise held.refused
        return held, parts

    def _read_anew(
        self, path: str, held: Contents | None, parts: Mapping[str, FilePart]
    ) -> tuple[Contents | None, Mapping[str, FilePart]]:
        """Read a file, and split it unless it has the bytes of what is held."""
        with self._splits:
            body = self._source.read(path)
            if body is None:
                return None, {}
            if held is None or held.content_hash != body.content_hash:
                held, parts = self._made(path, body)
                self._keep(path, parts)
        held.version, held.read_at_ns = body.version, body.read_at_ns
        held.looked_at = time.monotonic()
        self._contents[path] = held
        return held, parts

    def _look(self, path: str) -> Version | None:
        looked = self._source.look_at((), {path})
        if path in looked.problems:
            raise Unreadable(f"{path}: {looked.problems[path]}")
        return looked.present.get(path)

    def _made(self, path: str, body: Body) -> tuple[Contents, Mapping[str, FilePart]]:
        fields = self._fields if self._kind(path) == "records" else None
        made = Contents(body.version, body.read_at_ns, body.content_hash, body.url)
        kept = dict[str, FilePart]()
        try:
            if body.data is None:
                most = self.max_bytes // 1024**2
                raise DocumentRefused("too_large", f"it is larger than max_bytes, {most:,} MB")
            parts = self._split(SplitQuestion(path, fields), body.data)
        except DocumentRefused as error:
            made.refused = error
            return made, kept
        made.fault = parts.fault
        made.left_out = {f"{path}#{name}": _unread(name) for name in parts.left_out}
        for part in parts.parts:
            try:
                at = check_document_path(f"{path}#{part.name}")
            except DocumentRefused as error:
                made.fault = "; ".join(filter(None, (made.fault, f"a name in it: {error.reason}")))
                continue
            if why := self.rules.excludes(at):
                made.left_out[at] = why
                continue
            kept[at], made.versions[at] = part, _version(part)
        return made, kept

    def _kept(self, path: str) -> Mapping[str, FilePart]:
        with self._lock:
            if path not in self._parts:
                return {}
            self._parts.move_to_end(path)
            return self._parts[path]

    def _keep(self, path: str, parts: Mapping[str, FilePart]) -> None:
        """Keep the documents of this file, and drop those of the file that was used longest ago."""
        with self._lock:
            self._parts[path] = parts
            self._parts.move_to_end(path)
            if len(self._parts) > KEPT:
                self._parts.popitem(last=False)

    def _forget(self, path: str) -> None:
        self._contents.pop(path, None)
        self._turns.pop(path, None)
        with self._lock:
            self._parts.pop(path, None)


@dataclass(frozen=True, slots=True)
class _WithContainers(Collection[str]):
    """Known paths, and those of the files that hold known documents."""

    known: Collection[str]
    containers: Collection[str]

    def __contains__(self, path: object) -> bool:
        return path in self.known or path in self.containers

    def __iter__(self) -> Iterator[str]:
        yield from self.known
        yield from (path for path in self.containers if path not in self.known)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def container_of(path: str) -> str | None:
    """The file in which a document lies that is none itself."""
    at = path.find("#")
    if at > 0 and is_url(path):  # its fragment; a query may stand before it
        return path[:at] if ending(path[:at]) in ENDINGS else None
    while at > 0:
        if path[max(0, at - _LONGEST) : at].lower().endswith(ENDINGS):
            return path[:at]
        at = path.find("#", at + 1)
    return None


def _unread(name: str) -> LeftOut:
    end = ending(name)
    return LeftOut(ending_of(name), f"its ending {end} is not read" if end else "it has no ending")


def _parts_of(container: str, known: Collection[str]) -> list[str]:
    return [path for path in known if path.startswith(f"{container}#")]


def _given(part: FilePart) -> Given:
    metadata = dict(part.metadata)
    return Given(part.title, part.media_type, metadata, part.static_score, part.is_active)


def _version(part: FilePart) -> Version:
    """By content, whatever else of the file has changed."""
    identity = int(hash_of(part.data, _given(part))[:15], 16)
    return Version(len(part.data), 0, 0, identity)
