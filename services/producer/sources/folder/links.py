"""The symbolic links of a folder, as they were met: the documents whose content depends on each.

The content of a document that is a link changes when any name on the way to its file does: a link
after the first, a folder that is exchanged, a file in a hidden folder.
"""

# os and os.path as in `folder.py`
# ruff: noqa: PTH115, PTH117, PTH118, PTH119, PTH120, PTH206

import os
from collections.abc import Collection
from typing import Final

MOST_LINKS: Final = 40
"""Linux follows no more on the way to one file."""


class Links:
    """Names are relative to the root, with '/'. One thread writes; others may ask meanwhile."""

    def __init__(self) -> None:
        self.to_folders: set[str] = set()
        """Names on disk of links that lead to folders. The system tells the events of such a folder
        by one of its names, and no longer at all when the link goes that it was first met by."""
        self._over: dict[str, dict[str, None]] = {}
        self._ways: dict[str, frozenset[str]] = {}

    def lead(self, path: str, places: Collection[str]) -> None:
        """The document at this path is a link whose way passes these places."""
        way = frozenset(places) - {path}
        before = self._ways.get(path, frozenset())
        for place in before - way:
            del self._over[place][path]
            if not self._over[place]:
                del self._over[place]
        for place in way - before:
            self._over.setdefault(place, {})[path] = None
        if way:
            self._ways[path] = way
        else:
            self._ways.pop(path, None)

    def over(self, place: str) -> tuple[str, ...]:
        """The documents that are links whose way passes this place."""
        return tuple(self._over.get(place, ()))


def way_of(root: str, name: str) -> tuple[list[str], list[str]]:
    """The names below the root that lead from a link to its file, in their order.

    Args:
        root: absolute, without links.
        name: of the link, relative to the root, by a way without links.

    Returns:
        All names that are met, then those of them that are links.
    """
    at, rest = os.path.dirname(os.path.join(root, name)), [os.path.basename(name)]
    met, links, followed = list[str](), list[str](), 0
    while rest and followed <= MOST_LINKS:
        part = rest.pop(0)
        if part in ("", os.curdir):
            continue
        if part == os.pardir:
            at = os.path.dirname(at)
            continue
        full = os.path.join(at, part)
        is_inside = full.startswith(root + os.sep)
        below = full[len(root) + 1 :].replace(os.sep, "/") if is_inside else ""
        if below:
            met.append(below)
        try:
            target = os.readlink(full)
        except OSError:  # no link, or not there
            at = full
            continue
        followed += 1
        if below:
            links.append(below)
        rest = target.split(os.sep) + rest
        at = os.sep if os.path.isabs(target) else at
    return met, links
