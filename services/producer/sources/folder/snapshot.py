"""An open file at one moment: its content, and the stat of that content.

Blocking calls, to be made in a thread. `words` puts errors of the system in words for people.
"""

import hashlib
import os
import stat as stats
import time
from pathlib import Path
from typing import Final

from services.producer.sources.listing import RACY_NS
from services.producer.sources.port import Body, Unsettled, Version

_AT_ONCE: Final = 1024**2


def content(file: int, size: int) -> bytes:
    """The bytes of an open file from its start, one more than `size` where it has grown."""
    os.lseek(file, 0, os.SEEK_SET)
    with open(file, "rb", closefd=False) as reader:
        return reader.read(size + 1)


def digest(file: int, size: int) -> str:
    """sha256 of the first bytes of an open file, never more than 1 MB of it in memory."""
    os.lseek(file, 0, os.SEEK_SET)
    found = hashlib.sha256()
    with open(file, "rb", closefd=False) as reader:
        while size > 0 and (some := reader.read(min(size, _AT_ONCE))):
            found.update(some)
            size -= len(some)
    return found.hexdigest()


def words(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def printable(name: str) -> str:
    """A name that is no valid Unicode, with its odd bytes spelt out."""
    return name.encode("utf-8", "backslashreplace").decode()


# ruff: noqa: PTH116 - as in folder.py


LONGEST_LINE: Final = 64 * 1024


def snapshot(
    path: str, file: int, full: str, *, max_bytes: int, growing: bool = False
) -> Body | None:
    """The content of an open file; None when it is not a plain file.

    Args:
        path: for errors. full: the name that it has on disk.
        growing: a file that only grows is taken as it was when the reading began.

    Raises:
        Unsettled: it changed meanwhile.
        OSError: it cannot be read.
    """
    read_at_ns = time.time_ns()
    before = os.fstat(file)
    if not stats.S_ISREG(before.st_mode):
        return None
    found, url = version_of(before), Path(full).as_uri()
    if found.size > max_bytes:
        instead = hashlib.sha256(f"{found.size}\n{found.mtime_ns}".encode()).hexdigest()
        return Body(found, read_at_ns, instead, None, url)
    data = content(file, found.size)
    # two writes within one tick of the file system's clock leave the same stat
    content_hash = hashlib.sha256(data).hexdigest()
    torn = read_at_ns - found.changed_ns < RACY_NS and digest(file, found.size) != content_hash
    named = version_of(os.stat(full))
    if not torn and version_of(os.fstat(file)) == found == named and len(data) == found.size:
        return Body(found, read_at_ns, content_hash, data, url)
    if (
        growing
        and named.identity == found.identity
        and _only_grew(file, data[: found.size], found.size)
    ):
        data = whole_lines(data[: found.size])
        # no file has this stat, so the file differs from it for as long as it is larger
        shown = found._replace(size=len(data))
        return Body(shown, read_at_ns, hashlib.sha256(data).hexdigest(), data, url, grows=True)
    raise Unsettled(f"{path}: changed while it was read")


def whole_lines(data: bytes) -> bytes:
    """Without a last line that may be half written. Text in two bytes a character stays whole."""
    end = data.rfind(b"\n", max(0, len(data) - LONGEST_LINE)) + 1
    return data[:end] if end and b"\0" not in data else data


def version_of(found: os.stat_result) -> Version:
    return Version(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def _only_grew(file: int, data: bytes, size: int) -> bool:
    """Whether the bytes read are still the beginning of the file.

    Two equal readings of the same bytes: between them, the file held just these.
    """
    return len(data) == size and digest(file, size) == hashlib.sha256(data).hexdigest()
