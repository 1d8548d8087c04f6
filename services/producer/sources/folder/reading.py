"""Bytes of a file, and system errors in words for people."""

import hashlib
import os
from typing import Final

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
