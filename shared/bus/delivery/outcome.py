"""What a delivery adds to what is known of its message, and what becomes of it. Pure."""

from dataclasses import replace
from typing import Any, Final

from shared.bus.delivery.failure_notes import Known
from shared.bus.delivery.settle import (
    LONGEST_RETRY_S,
    Ack,
    Bury,
    Retry,
    Tried,
    backoff_s,
    poison,
    settle,
)
from shared.domain.errors import NotYetIndexed
from shared.domain.topology import RECORDER, Stage

Verdict = Ack | Retry | Bury

UNNOTED_POLLS: Final = 6
"""Deliveries of a message that is polled for, without a note: most are found within a second."""


def before(stage: Stage[Any], known: Known, *, delivery: int) -> Retry | Bury | None:
    """What becomes of a message that is not opened; None: open it.

    Args:
        delivery: which one this is, as the server counts.
    """
    verdict = poison(known.trouble.killed)
    if verdict is not None and stage.stream == RECORDER.stream:
        return Retry(backoff_s(delivery))  # nobody would ever hear of its document
    return verdict


def after(
    stage: Stage[Any],
    error: Exception | None,
    known: Known,
    *,
    delivery: int,
    took_s: float,
    now: float,
) -> tuple[Known, Verdict]:
    """What is known once a delivery has ended, and what becomes of its message.

    Args:
        error: what the handler raised; None: it returned, and its events are stored.
        delivery: which one this is, as the server counts.
        took_s: how long the handler ran.
        now: Unix time.
    """
    polled = isinstance(error, NotYetIndexed)
    if error is not None and not polled:
        known = replace(known, trouble=known.trouble.failed(now), noted=True)
    trouble = known.trouble
    took_s = min(took_s, LONGEST_RETRY_S)  # it may have waited for the bus
    tried = Tried(
        polls=trouble.polls + polled,
        polled_s=trouble.polled_s + took_s,
        failures=trouble.failures,
        failing_s=max(0.0, now - trouble.since) if trouble.since else 0.0,
    )
    verdict = settle(error, tried, attempts=stage.attempts, patience_s=stage.patience_s)
    if isinstance(verdict, Bury) and stage.stream == RECORDER.stream:
        verdict = Retry(backoff_s(trouble.failures))  # as in `before`
    if polled and isinstance(verdict, Retry):
        noted = known.noted or delivery > UNNOTED_POLLS
        known = replace(known, trouble=trouble.polled(took_s + verdict.after_s), noted=noted)
    return known, verdict
