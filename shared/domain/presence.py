"""The processes that serve a stage, by their own announcements. Pure: time is passed in.

The server does not know them: it counts open requests for messages, and an idle process has several
of them, a busy one none. So every process announces every few seconds that it serves a durable
consumer, and at the end that it leaves. No stream keeps the announcements. A silent process counts
as gone: it was killed, or its event loop hangs.
"""

from collections.abc import Iterable
from typing import Final

PREFIX: Final = "instep.here"
EVERYBODY: Final = f"{PREFIX}.*.*"
EVERY_S: Final = 5.0
GONE_AFTER_S: Final = 15.0
BYE: Final = b"bye"
"""The announcement of a process that leaves; any other says that it is there."""


def subject_of(consumer: str, process: str = "*") -> str:
    """The subject on which a process announces a consumer; by default, of all processes."""
    return f"{PREFIX}.{consumer}.{process}"


def sender(subject: str) -> tuple[str, str]:
    """Consumer and process of such a subject. Raises ValueError."""
    _, _, consumer, process = subject.split(".")
    return consumer, process


class Present:
    """The processes that were heard lately. All times are of one clock that never goes back."""

    def __init__(self, gone_after_s: float = GONE_AFTER_S) -> None:
        self.gone_after_s = gone_after_s
        self._since: float | None = None
        self._heard: dict[str, dict[str, float]] = {}

    def listens(self, since: float | None) -> None:
        """The time since which announcements arrive here; None: they do not."""
        self._since = since

    def heard(self, consumer: str, process: str, now: float, *, bye: bool = False) -> None:
        """Note that a process serves a consumer, or that it leaves."""
        known = {
            p: at for p, at in self._heard.get(consumer, {}).items() if self._is_fresh(at, now)
        }
        if bye:
            known.pop(process, None)
        else:
            known[process] = now
        self._heard[consumer] = known

    def count(self, consumers: Iterable[str], now: float) -> int | None:
        """Processes that serve any of these consumers, each once.

        None: no process was heard, and listening was too short to say that none is there.
        """
        found = {
            process
            for consumer in consumers
            for process, at in self._heard.get(consumer, {}).items()
            if self._is_fresh(at, now)
        }
        if not found and (self._since is None or self._is_fresh(self._since, now)):
            return None
        return len(found)

    def _is_fresh(self, at: float, now: float) -> bool:
        return now - at <= self.gone_after_s
