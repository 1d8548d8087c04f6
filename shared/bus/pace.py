"""How many messages a process holds. Pure: time is passed in.

What one replica holds, no other can do. At the end of a backlog that is idle time of others, and
after a death it is what has to be delivered again. But messages may be small, and then it takes
many of them to fill a call of the device. So a process holds about as many as it has lately done.
"""

from collections import deque
from typing import Final

LATELY_S: Final = 2.0
LEAST: Final = 8
"""Messages held however slow they are: the next must be there when one has ended."""


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

    def end(self, now_s: float) -> None:
        """A message is done."""
        self._ended.append(now_s)

    def room(self, now_s: float) -> int:
        """Messages to be held now."""
        while self._ended and now_s - self._ended[0] > LATELY_S:
            self._ended.popleft()
        return min(self._most, max(LEAST, len(self._ended))) if self._paced else self._most
