"""The choice of texts that share a device call. Pure."""

from collections.abc import Sequence
from typing import Final

SMALL: Final = 4
"""Texts of a caller that may come along in the call of another one."""
GUESTS: Final = 8
"""One text in so many of a call may be such a guest, and always one."""


def padded(length: int, multiple: int = 8) -> int:
    """Width that a text of `length` tokens takes in a batch of its own."""
    return -(-length // multiple) * multiple


def plan_batches(
    lengths: Sequence[int], *, max_tokens: int, max_items: int, multiple: int = 8
) -> list[list[int]]:
    """Put texts of like length together, the longest first.

    Args:
        lengths: tokens of each text.
        max_tokens: most padded tokens of a batch (texts x width); a longer text still goes, alone.
        max_items: most texts of a batch, at least 1.
        multiple: a batch is as wide as its longest text, rounded up to this.

    Returns:
        Indices of `lengths`, each in exactly one batch; equal input gives equal batches.
    """
    batches: list[list[int]] = []
    current: list[int] = []
    width = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        full = len(current) >= max_items or width * (len(current) + 1) > max_tokens
        if not current or full:
            current = []
            batches.append(current)
            width = padded(lengths[index], multiple)
        current.append(index)
    return batches


def next_batch(
    lengths: Sequence[int], first: int, *, max_tokens: int, max_items: int, multiple: int = 8
) -> list[int]:
    """The batch of the plan that `first` is in."""
    plan = plan_batches(lengths, max_tokens=max_tokens, max_items=max_items, multiple=multiple)
    return next(batch for batch in plan if first in batch)


def with_guests(
    batch: Sequence[int],
    guests: Sequence[int],
    lengths: Sequence[int],
    first: int,
    *,
    max_tokens: int,
    max_items: int,
) -> list[int]:
    """The batch, and with it texts of small callers, so that an edit waits for one call at most.

    They make it neither wider nor longer: the shortest texts of the batch wait in their place.

    Args:
        batch: indices of `lengths`, the longest text first; `first` is one of them and stays.
        guests: indices of texts that would like to come along, the most urgent first.
    """
    width = padded(max(lengths[index] for index in batch))
    room = min(max_items, max_tokens // max(1, width))  # a text may have no token at all
    free = max(0, min(room - 1, max(1, room // GUESTS)))
    narrow = (g for g in guests if g not in batch and padded(lengths[g]) <= width)
    along = [guest for guest, _ in zip(narrow, range(free), strict=False)]
    own = [index for index in batch if index != first]
    own = own[: room - 1 - len(along)] if along else own
    return [index for index in batch if index == first or index in own] + along


def whose_turn(remaining: Sequence[int], turn: int) -> int:
    """The caller whose text goes next, with others of like length.

    Turns alternate between the oldest caller, so that none waits for ever behind newer ones, and
    the one with the least left to do, so that an edit does not wait behind a huge job.

    Args:
        remaining: texts (or tokens) that each caller still waits for, the oldest caller first.
        turn: counts device calls.
    """
    if turn % 2 == 0:
        return 0
    return min(range(len(remaining)), key=lambda i: (remaining[i], i))
