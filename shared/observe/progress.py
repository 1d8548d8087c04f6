"""The progress that this process has seen, for display only: no decision depends on it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from shared.domain.errors import TransientError
from shared.observe.distribution import FRESHNESS_S, Distribution


@dataclass(frozen=True, slots=True)
class Activity:
    """One line of news about a document."""

    kind: str
    """changed, moved, removed, refused, failed, held, notice."""
    path: str
    detail: str = ""
    seconds: float | None = None
    """From the change to the end of it."""


@dataclass(slots=True)
class SourceHealth:
    """The faults of a watched folder, as far as this process knows."""

    error: str = ""
    """Why it cannot be listed; empty while it can."""
    problems: dict[str, str] = field(default_factory=dict)
    """Path to its fault: paths that cannot be listed, read or named."""
    more: int = 0
    """Problems beyond these, where only some were told."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Files that are no documents, by ending (`shared.domain.formats.most_common`)."""
    kind: str = "folder"
    """As in the settings of its process."""
    path: str = ""
    """Where it is: an absolute path or an address."""


@dataclass(slots=True)
class Progress:
    """Counters since the process started; a service adds to those it knows about."""

    listed: bool = False
    """Every folder has been listed once since the start."""
    unlisted: dict[str, TransientError] = field(default_factory=dict)
    """Places of the sources whose first listing has failed, and why."""
    found: int = 0
    unchanged: int = 0
    changed: int = 0
    """Changes accepted: documents that will get an outcome."""
    left: int = 0
    """Documents that an earlier process left undone, or that are written anew."""
    rows_planned: int = 0
    """Rows that revisions wanted written."""
    rows_left: int = 0
    """Rows that an earlier process has planned and not written."""
    rows_written: int = 0
    rows_deleted: int = 0
    encoded: int = 0
    cached: int = 0
    overtaken: int = 0
    """Texts that were not encoded because a newer revision had come."""
    freshness: Distribution = field(default_factory=lambda: Distribution(FRESHNESS_S))
    """Seconds from a change to its being searchable, or gone."""
    indexed: int = 0
    inserted: int = 0
    """Of `indexed`: documents that search did not have before."""
    updated: int = 0
    removed: int = 0
    refused: int = 0
    failed: int = 0
    held: int = 0
    """Documents whose removals wait for a person, of all sources."""
    listeners: list[Callable[[Activity], None]] = field(default_factory=list)

    @property
    def changes_known(self) -> int:
        """Documents that this process knows to get an outcome.

        Changes that another process accepted meanwhile are known here only when they are done.
        """
        return max(self.changed + self.left, self.indexed)

    @property
    def rows_known(self) -> int:
        """Rows that this process knows of, in the same way."""
        return max(self.rows_planned + self.rows_left, self.rows_embedded)

    @property
    def rows_embedded(self) -> int:
        """Rows that have a vector: each written row has one, whichever process has made it."""
        return max(self.rows_written, self.encoded + self.cached)

    def say(self, activity: Activity) -> None:
        for listener in self.listeners:
            listener(activity)
