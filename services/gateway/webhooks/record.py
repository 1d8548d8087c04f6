"""How far a webhook is: what was sent, what waits for another try, what was given up. Pure.

One record per webhook is stored. Every event up to `position` is delivered or in the record, so a
process that ends at any moment loses none: at worst it sends some again.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

TRIES: Final = 26
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 900.0
"""With TRIES: an event is given up after four hours."""
MOST_OPEN: Final = 500
"""Events that wait for a try; behind them no new ones are taken."""
MOST_DEAD: Final = 1_000
"""Events that were given up and are kept; further ones go on waiting."""

Count = Annotated[int, Field(ge=0, lt=2**63)]


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Waiting(_Stored):
    """An event that was taken and is not delivered."""

    tries: Count = 0
    due_at: float = 0.0
    """Unix time of the next try."""


class DeadEvent(_Stored):
    """An event that was given up."""

    at: float
    error: str


class WebhookRecord(_Stored):
    """The state of one webhook. Keys are sequences of RESULTS."""

    position: Count
    owner: str = ""
    """The process that sends; empty: none."""
    open: Mapping[Count, Waiting] = {}
    dead: Mapping[Count, DeadEvent] = {}
    delivered: Count = 0
    lost: Count = 0
    """Events that RESULTS dropped, or may have dropped, before they were delivered."""
    error: str = ""
    """Of the last try that failed."""
    error_at: float | None = None

    @property
    def room(self) -> int:
        """New events that may be taken."""
        return max(0, MOST_OPEN - len(self.open))

    @property
    def failing(self) -> int:
        """Events that wait for another try."""
        return sum(one.tries > 0 for one in self.open.values())

    def passed(self, sequence: int, *, wanted: bool) -> Self:
        """The next event was read; `wanted`: it is to be sent."""
        more = {"open": {**self.open, sequence: Waiting()}} if wanted else {}
        return self._with(position=sequence, **more)

    def delivered_to(self, sequence: int) -> Self:
        """The receiver has taken an event."""
        if sequence not in self.open:
            return self
        return self._with(open=_without(self.open, sequence), delivered=self.delivered + 1)

    def failed(self, sequence: int, error: str, now: float, jitter: float) -> Self:
        """A try has failed. `jitter`: in [0, 1], spreads the next ones."""
        if sequence not in self.open:
            return self
        told = {"error": error, "error_at": now}
        tries = self.open[sequence].tries + 1
        if tries >= TRIES and len(self.dead) < MOST_DEAD:
            dead = {**self.dead, sequence: DeadEvent(at=now, error=error)}
            return self._with(open=_without(self.open, sequence), dead=dead, **told)
        waiting = Waiting(tries=tries, due_at=now + pause_s(tries, jitter))
        return self._with(open={**self.open, sequence: waiting}, **told)

    def gone(self, sequence: int) -> Self:
        """An event cannot be read any more."""
        if sequence not in self.open:
            return self
        return self._with(open=_without(self.open, sequence), lost=self.lost + 1)

    def within(self, oldest: int, newest: int) -> Self:
        """Without what the stream has dropped; a stream that was made anew is read from its start.

        Args:
            oldest, newest: as `Results.bounds` has them, asked for after the record was read.
        """
        if self.position > newest:
            lost = len(self.open) + len(self.dead)
            start = max(0, oldest - 1)
            return self._with(position=start, open={}, dead={}, lost=self.lost + lost)
        kept = [{n: one for n, one in all.items() if n >= oldest} for all in (self.open, self.dead)]
        lost = len(self.open) + len(self.dead) - sum(map(len, kept))
        skipped = max(0, oldest - 1 - self.position)
        if not lost and not skipped:
            return self
        return self._with(
            position=self.position + skipped,
            open=kept[0],
            dead=kept[1],
            lost=self.lost + lost + skipped,
        )

    def again(self, now: float) -> tuple[Self, int]:
        """Everything that failed is due now, with nearly all its tries; how many events that are.

        They still count as tried, so they take turns with new ones.
        """
        failing = {n for n, one in self.open.items() if one.tries}
        due = dict.fromkeys(sorted(failing | set(self.dead)), Waiting(tries=1, due_at=now))
        return self._with(open={**self.open, **due}, dead={}), len(due)

    def due(self, now: float) -> list[int]:
        """Events whose try is due: those never tried first, each in the order of the stream."""
        ready = [(one.tries > 0, n) for n, one in self.open.items() if one.due_at <= now]
        return [n for _, n in sorted(ready)]

    def owned_by(self, owner: str) -> Self:
        return self._with(owner=owner)

    def _with(self, **fields: object) -> Self:
        return self.model_copy(update=fields)


def pause_s(tries: int, jitter: float) -> float:
    """From the failure of try number `tries` to the next one."""
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (min(tries, TRIES) - 1))
    return longest * (0.8 + 0.4 * jitter)


def packed(record: WebhookRecord) -> bytes:
    return record.model_dump_json().encode()


def unpacked(data: bytes) -> WebhookRecord | None:
    """None: it is no record."""
    try:
        return WebhookRecord.model_validate_json(data)
    except ValidationError:
        return None


def _without(all: Mapping[int, Waiting], sequence: int) -> dict[int, Waiting]:
    return {n: one for n, one in all.items() if n != sequence}
