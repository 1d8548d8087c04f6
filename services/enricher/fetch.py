"""The loading of a change's content as bytes, from any place."""

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

from shared.domain.errors import DocumentRefused, TransientError
from shared.domain.events import DocumentChanged, Inline, Linked, Reference, Stored
from shared.domain.ids import content_hash
from shared.openat import open_below
from shared.ports import ContentStore

MAX_BYTES: Final = 100 * 1024**2
_GONE: Final = frozenset(
    {errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO}
    | {errno.ENAMETOOLONG}
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
            allowed = self.references.get(source, ())
            data = await asyncio.to_thread(read_reference, content.ref, allowed, limit)
        else:
            raise TypeError("only inline, stored and linked content has bytes")
        _check_size(len(data), limit)
        return Loaded(data)

    async def size(self, event: DocumentChanged) -> int:
        """Bytes to be loaded, as far as that can be known before. Raises DocumentRefused.

        The event of a reference gives no size, or one that the publisher claims.
        """
        content = event.content
        if not isinstance(content, Linked):
            return event.size
        allowed = self.references.get(event.document.source, ())
        return await asyncio.to_thread(size_of_reference, content.ref, allowed)

    async def _stored(self, content: Stored) -> bytes:
        try:
            return await self.contents.get(content.hash)
        except KeyError:
            raise _gone("the stored body is gone; send the document again") from None


def read_reference(ref: Reference, prefixes: Sequence[str], limit: int) -> bytes:
    """At most `limit` bytes of the regular file that a `file://` reference names.

    Links are followed as long as they lead to a file below one of the prefixes.

    Raises:
        DocumentRefused: `reference_not_allowed`, `source_gone`, `too_large`.
        TransientError: an error of the file system that may pass.
    """
    root, relative = allowed_file(ref, prefixes)
    try:
        with open_below(root, relative) as descriptor:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _gone("the reference is not to a regular file; refer to a file")
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(limit + 1)
    except OSError as error:
        if error.errno in _GONE:
            raise _gone("the referenced file is gone or cannot be read; send it again") from None
        raise TransientError(f"reading a referenced file failed: {error.strerror}") from None
    _check_size(len(data), limit)
    return data


def size_of_reference(ref: Reference, prefixes: Sequence[str]) -> int:
    """Bytes; 0 where the file cannot be opened: reading it tells why. Raises as `allowed_file`."""
    try:
        with open_below(*allowed_file(ref, prefixes)) as descriptor:
            return os.fstat(descriptor).st_size
    except OSError:
        return 0


def allowed_file(ref: Reference, prefixes: Sequence[str]) -> tuple[str, str]:
    """A folder, and the path below it that a `file://` reference leads to; links are resolved.

    The file need not exist: paths outside look the same whether they exist or not.

    Raises:
        DocumentRefused: `reference_not_allowed`.
        TransientError: a link on the way went while it was read.
    """
    path = _local_path(ref.url)
    roots = [root for prefix in prefixes if (root := _local_path(prefix)) is not None]
    if path is None or not roots:
        raise _not_allowed()
    try:
        real = Path(os.path.realpath(path))
        root = next(
            root
            for allowed in roots
            if real.is_relative_to(root := Path(os.path.realpath(allowed)))
        )
    except (StopIteration, ValueError):
        raise _not_allowed() from None
    except OSError:
        raise TransientError("a referenced path was exchanged while it was resolved") from None
    folder = root if real != root else root.parent
    return str(folder), str(real.relative_to(folder))


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
