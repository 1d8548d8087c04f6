"""Which texts share a device call. Pure."""

from collections.abc import Sequence


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
    """The batch of the plan that `first` is in: with whom it goes now."""
    plan = plan_batches(lengths, max_tokens=max_tokens, max_items=max_items, multiple=multiple)
    return next(batch for batch in plan if first in batch)


def whose_turn(remaining: Sequence[int], turn: int) -> int:
    """Which caller's text goes next, with others of like length.

    Turns alternate between the oldest caller, so that nobody waits for ever behind newer ones,
    and the one with the least left to do, so that an edit does not wait behind a huge job.

    Args:
        remaining: texts (or tokens) that each caller still waits for, the oldest caller first.
        turn: counts device calls.
    """
    if turn % 2 == 0:
        return 0
    return min(range(len(remaining)), key=lambda i: (remaining[i], i))
