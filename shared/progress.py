"""What this process has seen happen, for people who watch; nothing decides by these counters."""

from collections.abc import Callable
from dataclasses import dataclass, field


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
class Progress:
    """Counters since the process started; a service adds to those it knows about."""

    listed: bool = False
    """Every folder has been listed once since the start."""
    found: int = 0
    unchanged: int = 0
    changed: int = 0
    """Changes accepted: documents that will get an outcome."""
    rows_planned: int = 0
    """Rows that revisions wanted written."""
    rows_written: int = 0
    encoded: int = 0
    cached: int = 0
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

    def say(self, activity: Activity) -> None:
        for listener in self.listeners:
            listener(activity)
