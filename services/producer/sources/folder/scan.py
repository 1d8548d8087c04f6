"""What a listing of a folder found, and what can be said of what it did not find. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from services.producer.sources.folder.listing import Stat


@dataclass(slots=True)
class Scan:
    """What a folder, or a part of it, holds."""

    files: dict[str, Stat] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    """Path to what is wrong with it, in words for people."""
    closed: set[str] = field(default_factory=set)
    """Folders that could not be listed: nothing is known about what they hold."""

    def knows(self, path: str) -> bool:
        """Whether the absence of a path from `files` means that it is not there."""
        if not self.closed:
            return True
        parts = path.split("/")
        return not any("/".join(parts[:n]) in self.closed for n in range(1, len(parts) + 1))

    def judge(self, missing: Iterable[str]) -> tuple[list[str], list[str]]:
        """Of paths that are not in `files`: those that are gone, and those not known about."""
        gone, unseen = list[str](), list[str]()
        for path in missing:
            (gone if self.knows(path) else unseen).append(path)
        return gone, unseen
