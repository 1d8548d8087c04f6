"""The ports of the process that watches the folders."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Hold:
    """Removals of one source that wait for a person; the documents are still found by search."""

    source: str
    since: datetime
    vanished: int
    """Documents whose files are gone."""
    of: int
    """Documents of the source, with those."""
    sample: tuple[str, ...]
    """Some of the paths."""
    kept: bool
    """A person has decided that the documents stay; instep asks no more."""
    released: bool = False
    """A person has released them while no process watched; the next whole listing removes them."""

    @property
    def waits(self) -> bool:
        """Whether the decision is still open."""
        return not (self.kept or self.released)


class Holds(Protocol):
    """The removals that wait in the folders that this process watches."""

    async def list(self) -> Sequence[Hold]:
        """One for each source that has some, by name."""
        ...

    async def release(self, source: str) -> int:
        """List the folder again and remove the vanished documents.

        Returns:
            Documents removed. 0: none was held, the files are back, or many more have vanished than
            `list` showed, and all of them still wait.

        Raises:
            TransientError: the folder cannot be listed; nothing was removed.
            BusUnavailable: nothing is known.
        """
        ...

    async def keep(self, source: str) -> int:
        """Leave the documents in the index until their files come back or they are released.

        Returns:
            Documents concerned. 0: nothing was held.

        Raises:
            BusUnavailable: nothing is known.
        """
        ...

    async def forget(self, source: str) -> int:
        """Remove all documents of a source that is not watched, without a look at any folder.

        Returns:
            Documents whose removal was accepted now.

        Raises:
            TransientError: the source is watched; nothing was removed.
            BusUnavailable: some may be removed; repeating goes on with the rest.
        """
        ...


@dataclass(frozen=True, slots=True)
class Audit:
    """A source's files, compared with the bus and the ledger."""

    source: str
    files: int
    submitted: int = 0
    """Files that were not known, or otherwise: accepted again."""
    removed: int = 0
    """Documents without a file: removed."""
    held: int = 0
    """Documents without a file whose removal waits for a person."""
    error: str = ""
    """Why the source could not be listed; nothing was done then."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Whether the rules of a folder leave out a file or folder in it, and what they leave out
    below."""

    exists: bool
    is_folder: bool = False
    why: str = ""
    """The rule that leaves it out; empty: none does."""
    fix: str = ""
    """What a person can do to have it read."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Of a folder: what is left out below, as `shared.domain.formats.most_common` counts it."""
    some: Mapping[str, str] = field(default_factory=dict)
    """Some of that, each with its rule; a folder has a slash at its end."""


Explain = Callable[[str, str], Awaitable[Selection]]
"""The selection at a path of a source. Raises TransientError when its process cannot tell."""


class Auditor(Protocol):
    """The sources that this process watches."""

    async def __call__(self, *, dry_run: bool = False) -> Sequence[Audit]:
        """List every source, compare, repair; with `dry_run` count only.

        Raises:
            BusUnavailable: nothing is known; repeating is safe.
        """
        ...
