"""Failures of a message, noted beside the server's number of deliveries. Pure.

That number counts all deliveries: retries, messages that a stopping process handed back unopened,
and those that merely lay in a process that died. A limit on it would turn harmless documents into
dead letters. So only failures of the message itself are noted and counted. The first delivery costs
nothing: a note is written when a handler failed, before opening a message that another process may
have opened, and when a message is polled for more than a moment.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Final

from shared.domain.errors import GARBAGE

WORK: Final = "Instep-Work"
"""Header that names the work of a message; copies of the message have the same."""
ACCUSED: Final = 3
"""Openings without an outcome after which a message is opened alone."""
LIVES: Final = 5
"""Openings without an outcome after which it is never opened again."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """The failures of a message so far."""

    failures: int = 0
    """Deliveries whose handler raised; polls are none."""
    since: float = 0.0
    """Unix time of the first failure; 0: none."""
    killed: int = 0
    """Deliveries that were opened and never ended: the process died, or lost its memory of it."""
    polls: int = 0
    """Deliveries that found the rows not searchable yet."""
    polled_s: float = 0.0
    """Duration of polls and the pauses after them; clocks and queues do not change it."""

    def opened(self) -> "Trouble":
        """With this delivery counted as killed, until it ends."""
        return replace(self, killed=self.killed + 1)

    def failed(self, now: float) -> "Trouble":
        """After a handler has raised."""
        return replace(self, failures=self.failures + 1, since=self.since or now)

    def polled(self, seconds: float) -> "Trouble":
        """After a poll that comes again; `seconds`: of the poll and the pause after it."""
        return replace(self, polls=self.polls + 1, polled_s=self.polled_s + seconds)

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()


def name_of(sequence: int, stored_us: int, headers: Mapping[str, str]) -> str:
    """The name of the note about a message.

    A part whose enricher died before it was acknowledged is published again, as another message:
    the work is the same, and so is its effect on a process that opens it. Any other message is
    named by its sequence and the time when it was stored: a stream that was made anew may give the
    sequence to another one.
    """
    work = headers.get(WORK, "")
    return work if re.fullmatch("[a-z2-7]{26}", work) else f"{sequence}-{stored_us}"


def decode(data: bytes) -> Trouble:
    """The trouble of a note; of an unreadable one, none."""
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

    seen_to_end: every delivery of it is accounted for: this is the first, or this process itself
        ended the one before. Such a message cannot have killed a process.
    noted: the bus holds a note of it.
    """

    trouble: Trouble = Trouble()
    seen_to_end: bool = True
    noted: bool = False


class Ended:
    """The latest deliveries that this process ended for redelivery."""

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
        """The trouble of a message if this process ended its delivery before; else None."""
        before, known = self._ended.get(sequence, (0, Known()))
        return known if before == delivery - 1 else None
