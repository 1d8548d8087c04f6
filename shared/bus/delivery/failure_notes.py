"""What is known about a message beyond the server's number of deliveries. Pure.

That number counts everything: retries, messages that a stopping process handed back unopened, and
those that merely lay in a process that died. To give up by it would bury innocent documents. So
what a message did itself is noted, and only that is counted. The first delivery costs nothing: a
note is written when a handler failed, before a message is opened that another process may have
opened, and when it is polled for more than a moment.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Final

from shared.domain.errors import GARBAGE

WORK: Final = "Instep-Work"
"""Header that names what a message asks for; copies of the message have the same."""
ACCUSED: Final = 3
"""Openings without an outcome after which a message is opened with nothing beside it."""
LIVES: Final = 5
"""Openings without an outcome after which it is not opened any more."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a message did so far."""

    failures: int = 0
    """Deliveries whose handler raised; polls are none."""
    since: float = 0.0
    """Unix time of the first failure; 0: none."""
    killed: int = 0
    """Deliveries that were opened and never ended: the process died, or lost its memory of it."""
    polls: int = 0
    """Deliveries that found the rows not searchable yet."""
    polled_s: float = 0.0
    """What the polls took and the pauses after them: no clock changes it, and no queue."""

    def opened(self) -> "Trouble":
        """As it is while nobody knows whether this delivery will end."""
        return replace(self, killed=self.killed + 1)

    def failed(self, now: float) -> "Trouble":
        """After a handler has raised."""
        return replace(self, failures=self.failures + 1, since=self.since or now)

    def polled(self, seconds: float) -> "Trouble":
        """After a poll that comes again; it and the pause after it last so long."""
        return replace(self, polls=self.polls + 1, polled_s=self.polled_s + seconds)

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()


def name_of(sequence: int, stored_us: int, headers: Mapping[str, str]) -> str:
    """What the trouble of a message is noted under.

    A part whose enricher died before it was acknowledged is published again, as another message:
    the work is the same, and so is what it does to those who open it. Any other message is named by
    its sequence and the time when it was stored, for a stream that was made anew may give the
    sequence to another one.
    """
    work = headers.get(WORK, "")
    return work if re.fullmatch("[a-z2-7]{26}", work) else f"{sequence}-{stored_us}"


def decode(data: bytes) -> Trouble:
    """The trouble of a note; of one that cannot be read, none."""
    try:
        told = json.loads(data)
        return Trouble(
            int(told["failures"]),
            float(told["since"]),
            int(told["killed"]),
            int(told.get("polls", 0)),
            float(told.get("polled_s", 0.0)),
        )
    except GARBAGE:
        return Trouble()


@dataclass(frozen=True, slots=True)
class Known:
    """A message's trouble, and whether this delivery has to be watched.

    seen_to_end: no delivery of it is unaccounted for: this is the first, or this process itself
        ended the one before. Such a message cannot have killed a process.
    noted: the bus holds a note of it.
    """

    trouble: Trouble = Trouble()
    seen_to_end: bool = True
    noted: bool = False


class Ended:
    """Deliveries that this process ended so that they come back, the latest of them."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._ended: OrderedDict[int, tuple[int, Known]] = OrderedDict()

    def remember(self, sequence: int, delivery: int, trouble: Trouble, *, noted: bool) -> None:
        self._ended[sequence] = (delivery, Known(trouble, noted=noted))
        self._ended.move_to_end(sequence)
        if len(self._ended) > self._most:
            self._ended.popitem(last=False)

    def forget(self, sequence: int) -> None:
        self._ended.pop(sequence, None)

    def known(self, sequence: int, delivery: int) -> Known | None:
        """What is known of a message whose delivery before this one ended here; else None."""
        before, known = self._ended.get(sequence, (0, Known()))
        return known if before == delivery - 1 else None
