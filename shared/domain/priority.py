"""The choice of two lanes, so that a small edit does not wait behind a huge batch. Pure.

Between the stages there are two queues instead of one, each with consumers of its own: `express`
for what is small, `bulk` for all else. A lane is about waiting only: while nothing waits both are
equally fast, nothing relies on the order between them, and neither can starve the other, because
every replica always takes from both.

So that express stays short, each source has an allowance there; its other work goes with the bulk.
Each process counts for itself: producers count documents, because a burst may be thousands of
submissions without a batch, and enrichers count rows.
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
BURST_DOCUMENTS: Final = 64
"""Changes of one source that are express at once, after a rest, each a batch of its own."""
BURST_ROWS: Final = 256
"""Rows of one source that are express at once, after a rest."""
PER_S: Final = 8.0
"""Changes, or rows, a second of one source that are express for ever: less than any model takes."""
SOURCES_REMEMBERED: Final = 1000


def lane_of_message(headers: Mapping[str, str]) -> Lane:
    """The lane that a message of DOCS was published for."""
    return BULK if headers.get(HEADER) == BULK else EXPRESS


class Allowance:
    """The work that each source may still send express. Time is passed in, in seconds of any clock.

    Args:
        burst: the work that a source may send at once, after a rest.
    """

    def __init__(self, burst: int = BURST_ROWS) -> None:
        self._burst = float(burst)
        self._left: dict[str, tuple[float, float]] = {}

    def lane_of_change(self, source: str, documents: int, *, repair: bool, now_s: float) -> Lane:
        """The lane of a change on its way to the enricher; an express one is counted.

        Args:
            documents: of the batch that it belongs to, as its source says.
            repair: it only sends again what is there.
        """
        if repair or documents > EXPRESS_DOCUMENTS:
            return BULK
        return self._spend(source, 1, now_s)

    def lane_of_parts(self, change: Lane, source: str, rows: int, now_s: float) -> Lane:
        """The lane of a revision on its way to the index; an express one is counted.

        Args:
            change: the lane that its change came by.
            rows: the number that is still to be written.
        """
        if change == BULK or rows > EXPRESS_ROWS:
            return BULK
        return self._spend(source, max(1, rows), now_s)

    def _spend(self, source: str, cost: int, now_s: float) -> Lane:
        left = self._now(source, now_s)
        if cost > left:
            return BULK
        self._left.pop(source, None)
        self._left[source] = (left - cost, now_s)
        if len(self._left) > SOURCES_REMEMBERED:
            del self._left[next(iter(self._left))]  # the one that was express longest ago
        return EXPRESS

    def _now(self, source: str, now_s: float) -> float:
        left, at_s = self._left.get(source, (self._burst, now_s))
        return min(self._burst, left + max(0.0, now_s - at_s) * PER_S)
