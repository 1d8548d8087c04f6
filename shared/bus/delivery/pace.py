"""How many messages a process holds. Pure: time is passed in.

What one replica holds, no other can do. At the end of a backlog that is idle time of others, and
after a death it is what has to be delivered again. But messages may be small, and then it takes
many of them to fill a call of the device. So a process holds about as many as it has lately done.

Where a call takes long, that alone would keep it small for ever: as many would be fetched as the
calls before had. Messages that end at one moment shared a call, and so three times as many are
held: one call is under way, the next is at hand, and it may be larger.
"""

from collections import deque
from itertools import takewhile
from typing import Final

LATELY_S: Final = 2.0
LEAST: Final = 8
"""Messages held however slow they are: the next must be there when one has ended."""

MOMENT_S: Final = 0.1
"""Messages that end within it may have shared a call of the device."""
CALLS_HELD: Final = 3


class Pace:
    """Messages done lately.

    Args:
        most: messages ever held.
        paced: otherwise it is always `most`.
    """

    def __init__(self, most: int, *, paced: bool) -> None:
        self._most = most
        self._paced = paced
        self._ended: deque[float] = deque(maxlen=most)
        self._shared = 0
        """Most that ended at one moment, lately."""
        self._shared_at = 0.0

    def end(self, now_s: float) -> None:
        """A message is done."""
        self._ended.append(now_s)
        shared = sum(1 for _ in takewhile(lambda at: now_s - at <= MOMENT_S, reversed(self._ended)))
        if shared >= self._shared or now_s - self._shared_at > LATELY_S:
            self._shared, self._shared_at = shared, now_s

    def room(self, now_s: float) -> int:
        """Messages to be held now."""
        while self._ended and now_s - self._ended[0] > LATELY_S:
            self._ended.popleft()
        if not self._paced:
            return self._most
        shared = self._shared if now_s - self._shared_at <= LATELY_S else 0
        return min(self._most, max(LEAST, len(self._ended), CALLS_HELD * shared))
