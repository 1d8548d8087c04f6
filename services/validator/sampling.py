"""The choice of documents to search for by their own vectors. Pure.

Such a question costs the store a search and the bus a vector, which is little for a few documents
of a batch of thousands, and much for thousands of edits of one document each. So there is an
allowance, too; documents above it are judged by their rows alone, like the rest of a batch. Without
it, an edit takes 27.4 ms of processor instead of 23.8 (`bench/edit.py --beside 50 --model fake-384
--count 400`, one run each).
"""

import math
from collections import OrderedDict
from typing import Final

BURST: Final = 200
"""Questions at once, after a rest."""
PER_S: Final = 5.0
"""Questions a second for ever."""
BATCHES_REMEMBERED: Final = 1000


class Sampling:
    """The first documents of each batch, as long as the allowance lasts.

    Args:
        per_batch: documents of one batch.
    """

    def __init__(self, per_batch: int) -> None:
        self._per_batch = per_batch
        self._taken: OrderedDict[str, int] = OrderedDict()
        self._left, self._at_s = float(BURST), math.inf

    def takes(self, batch: str, now_s: float) -> bool:
        """Whether to search for one more document of the batch; it is counted.

        Args:
            now_s: seconds of any clock.
        """
        taken = self._taken.pop(batch, 0)
        take = taken < self._per_batch and self._spend(1, now_s) == 1
        self._taken[batch] = taken + take
        if len(self._taken) > BATCHES_REMEMBERED:
            self._taken.popitem(last=False)
        return take

    def some(self, documents: int, now_s: float) -> int:
        """How many to search for of a batch of so many, so far without one; they are counted."""
        return self._spend(min(documents, self._per_batch), now_s)

    def _spend(self, most: int, now_s: float) -> int:
        self._left = min(BURST, self._left + max(0.0, now_s - self._at_s) * PER_S)
        self._at_s = now_s
        spent = min(most, int(self._left))
        self._left -= spent
        return spent
