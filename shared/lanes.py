"""Which of two lanes work takes, so that a small edit does not wait behind a huge batch. Pure.

Between the stages there are two queues instead of one, each with consumers of its own: `express`
for what is small, `bulk` for all else. A lane is about waiting only: while nothing waits both are
equally fast, nothing relies on the order between them, and neither can starve the other, because
every replica always takes from both.

So that express stays short, a source may send no more than an allowance that way; what is above it
goes with the bulk. It is counted by each enricher for itself.
"""

from collections.abc import Mapping
from typing import Final, Literal

Lane = Literal["express", "bulk"]

EXPRESS: Final = "express"
BULK: Final = "bulk"

HEADER: Final = "Instep-Lane"
"""Of a change in DOCS; without it, it is express."""

EXPRESS_DOCUMENTS: Final = 16
"""Most documents of a batch whose changes are express."""
EXPRESS_ROWS: Final = 128
"""Most rows to be written for a revision that is express: two parts."""
BURST_ROWS: Final = 256
"""Rows of one source that are express at once, after a rest."""
ROWS_PER_S: Final = 8.0
"""Rows a second of one source that are express for ever: less than any model takes."""
SOURCES_REMEMBERED: Final = 1000


def lane_of_change(documents: int, *, repair: bool) -> Lane:
    """The lane of a change on its way to the enricher.

    Args:
        documents: of the batch that it belongs to, as its source says.
        repair: it only sends again what is there.
    """
    return BULK if repair or documents > EXPRESS_DOCUMENTS else EXPRESS


def lane_of_message(headers: Mapping[str, str]) -> Lane:
    """The lane that a message of DOCS was published for."""
    return BULK if headers.get(HEADER) == BULK else EXPRESS


class Allowance:
    """What each source may still send express. Time is passed in, in seconds of any clock."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float]] = {}

    def lane_of_parts(self, change: Lane, source: str, rows: int, now_s: float) -> Lane:
        """The lane of a revision on its way to the index; an express one is counted.

        Args:
            change: the lane that its change came by.
            rows: that are still to be written.
        """
        if change == BULK or rows > EXPRESS_ROWS:
            return BULK
        left, cost = self._now(source, now_s), max(1, rows)
        if cost > left:
            return BULK
        self._left.pop(source, None)
        self._left[source] = (left - cost, now_s)
        if len(self._left) > SOURCES_REMEMBERED:
            del self._left[next(iter(self._left))]  # the one that was express longest ago
        return EXPRESS

    def _now(self, source: str, now_s: float) -> float:
        left, at_s = self._left.get(source, (float(BURST_ROWS), now_s))
        return min(float(BURST_ROWS), left + max(0.0, now_s - at_s) * ROWS_PER_S)
