"""Bytes of an open file, and system errors in words for people."""

import hashlib
import os


def content(file: int, size: int) -> bytes:
    """The bytes of an open file from its start, one more than `size` where it has grown."""
    os.lseek(file, 0, os.SEEK_SET)
    with open(file, "rb", closefd=False) as reader:
        return reader.read(size + 1)


def digest(file: int) -> str:
    """sha256 of an open file from its start, never more than 1 MB of it in memory."""
    os.lseek(file, 0, os.SEEK_SET)
    with open(file, "rb", closefd=False) as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()


def words(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def printable(name: str) -> str:
    """A name that is no valid Unicode, with its odd bytes spelt out."""
    return name.encode("utf-8", "backslashreplace").decode()
