"""Opens a file below a folder without leaving the folder, even if links are exchanged meanwhile."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import PurePath
from typing import Final

_FOLDER: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: a file may have become a pipe since its stat was read
_FILE: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


@contextlib.contextmanager
def open_below(root: str, relative: str) -> Iterator[int]:
    """A descriptor of a file below a folder, to read it. No link is followed below `root`.

    Args:
        relative: the path below the root, without '..'; '.' is the root itself.

    Raises:
        OSError: it cannot be opened; ELOOP or ENOTDIR: a link, or a file, lies on the way.
    """
    descriptor = _open(root, PurePath(relative).parts or (".",))
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open(root: str, parts: tuple[str, ...]) -> int:
    """One component at a time, each below the descriptor of the one before."""
    *folders, name = parts
    at = os.open(root, _FOLDER)
    try:
        for folder in folders:
            below = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = below
        return os.open(name, _FILE | os.O_NOFOLLOW, dir_fd=at)
    finally:
        os.close(at)
