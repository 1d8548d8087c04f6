"""Bytes of a file, and system errors in words for people."""

import hashlib
import os
from pathlib import Path
from typing import Final

_AT_ONCE: Final = 1024**2
_FOLDER: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: a file may have become a pipe since it was looked at
_FILE: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


def open_below(root: str, relative: str) -> int:
    """A descriptor of a file below a folder, to read it; no link is followed on the way.

    Raises:
        OSError: it cannot be opened; ELOOP or ENOTDIR: a link, or a file, lies on the way.
    """
    *folders, name = Path(relative).parts
    at = os.open(root, _FOLDER)
    try:
        for folder in folders:
            below = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = below
        return os.open(name, _FILE | os.O_NOFOLLOW, dir_fd=at)
    finally:
        os.close(at)


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
