"""From the content of a change to bytes, wherever they lie."""

import asyncio
import binascii
import errno
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from shared.errors import DocumentRefused, TransientError
from shared.events import DocumentChanged, Inline, Linked, Reference, Stored
from shared.identity import content_hash
from shared.ports import ContentStore

MAX_BYTES: Final = 100 * 1024**2
_GONE: Final = frozenset(
    {errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO}
)
"""Errors of a file that another attempt does not change; all others are worth one."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The bytes of a document."""

    data: bytes

    @property
    def content_hash(self) -> str:
        """sha256 of what was read: it tells whether a reference has changed."""
        return content_hash(self.data)


@dataclass(frozen=True, slots=True)
class Load:
    """Reads inline content, stored bodies, and files below the folders that a source allows."""

    contents: ContentStore
    references: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Source to URL prefixes that its documents may refer to, e.g. `file:///srv/docs/`. A folder
    source whose producer sends references needs its own folder here."""
    max_bytes: Mapping[str, int] = field(default_factory=dict)
    """Source to the size above which its documents are refused; else MAX_BYTES."""

    async def __call__(self, event: DocumentChanged) -> Loaded:
        """The bytes of a change that has content to be cut.

        Raises:
            DocumentRefused: `too_large`, `source_gone`, `reference_not_allowed`, `corrupt`.
            TransientError: the file system, or the content store, may answer next time.
        """
        source = event.document.source
        limit = self.max_bytes.get(source, MAX_BYTES)
        _check_size(event.size, limit)
        content = event.content
        if isinstance(content, Inline):
            data = _inline(content)
        elif isinstance(content, Stored):
            data = await self._stored(content)
        elif isinstance(content, Linked):
            path = allowed_file(content.ref, self.references.get(source, ()))
            data = await asyncio.to_thread(read_file, path, limit)
        else:
            raise TypeError("only inline, stored and linked content has bytes")
        _check_size(len(data), limit)
        return Loaded(data)

    async def size(self, event: DocumentChanged) -> int:
        """Bytes to be loaded, as far as that can be known before. Raises DocumentRefused.

        Of a reference its own event says nothing, or what somebody else has said.
        """
        content = event.content
        if not isinstance(content, Linked):
            return event.size
        path = allowed_file(content.ref, self.references.get(event.document.source, ()))
        return await asyncio.to_thread(size_of, path)

    async def _stored(self, content: Stored) -> bytes:
        try:
            return await self.contents.get(content.hash)
        except KeyError:
            raise _gone("the stored body is gone; send the document again") from None


def allowed_file(ref: Reference, prefixes: Sequence[str]) -> Path:
    """The real path of a `file://` reference below one of the prefixes, links followed.

    Raises:
        DocumentRefused: `reference_not_allowed`, `source_gone` when nothing is there.
    """
    path = _local_path(ref.url)
    roots = [root for prefix in prefixes if (root := _local_path(prefix)) is not None]
    if path is None or not roots:
        raise _not_allowed()
    try:
        real = path.resolve(strict=True)
        within = any(real.is_relative_to(root.resolve()) for root in roots)
    except (OSError, RuntimeError, ValueError):
        # what lies outside must look the same whether it exists or not
        if any(Path(os.path.normpath(path)).is_relative_to(root) for root in roots):
            raise _gone("the referenced file is gone or cannot be read; send it again") from None
        raise _not_allowed() from None
    if not within:
        raise _not_allowed()
    return real


def size_of(path: Path) -> int:
    """Bytes; 0 where there is nothing: that is told when it is read."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def read_file(path: Path, limit: int) -> bytes:
    """At most `limit` bytes of a regular file.

    Raises:
        DocumentRefused: `source_gone`, `too_large`.
        TransientError: an error of the file system that may pass.
    """
    try:
        # never wait for the writer of a pipe, never follow a link put there meanwhile
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _gone("the reference is no regular file; refer to a file")
            data = file.read(limit + 1)
    except OSError as error:
        if error.errno in _GONE:
            raise _gone("the referenced file is gone or cannot be read; send it again") from None
        raise TransientError(f"reading a referenced file failed: {error.strerror}") from None
    _check_size(len(data), limit)
    return data


def _inline(content: Inline) -> bytes:
    try:
        return content.bytes()
    except UnicodeEncodeError:
        return content.data.encode("utf-8", "replace")
    except (binascii.Error, ValueError):
        raise DocumentRefused("corrupt", "data is not base64; send it again") from None


def _local_path(url: str) -> Path | None:
    """The path of a file URL of this machine, or None."""
    try:
        parts = urlsplit(url)
        path = unquote(parts.path, errors="strict")
    except ValueError:
        return None
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or "\0" in path:
        return None
    return Path(path) if path.startswith("/") else None


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise DocumentRefused(
            "too_large",
            f"the document has more than {limit:,} bytes; raise its source's max_bytes or split it",
        )


def _gone(reason: str) -> DocumentRefused:
    return DocumentRefused("source_gone", reason)


def _not_allowed() -> DocumentRefused:
    return DocumentRefused(
        "reference_not_allowed",
        "the reference is not below allow_references of its source; allow it or send the content",
    )
