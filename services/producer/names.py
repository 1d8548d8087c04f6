"""Paths of documents and the names that files have on disk.

A path is in NFC. Names on disk may be in other Unicode forms, and then two names can be one path.
Which of them counts depends on nothing but what is on the disk: the composed one, else the first
that exists, in the order of their characters.
"""

import os

from shared.identity import check_path


class Names:
    """Names on disk that are not in NFC, as they were met."""

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
                if os.path.lexists(os.path.join(root, name)):  # noqa: PTH118 - as in folder.py
                    return name
        return path
