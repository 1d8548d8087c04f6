"""The outcome of a delivery: from its handler's error to the answer to JetStream. Pure.

`judge` adds the delivery to the notes about its message, and `settle` decides.
"""

import re
from dataclasses import dataclass, replace
from typing import Any, Final

from shared.bus.delivery.failure_notes import LIVES, Known
from shared.domain.errors import (
    ConfigurationError,
    DocumentRefused,
    InstepError,
    NotYetIndexed,
    PermanentError,
    TransientError,
)
from shared.domain.topology import RECORDER, Stage

FIRST_RETRY_S: Final = 0.5
GROWTH: Final = 4.0
LONGEST_RETRY_S: Final = 60.0
FIRST_POLL_S: Final = 0.1
FEWEST_POLLS: Final = 3
"""The least, however short the patience is."""
FEWEST_ATTEMPTS: Final = 3
PATIENCE_S: Final = 900.0
"""How long a device may be busy or a store away before their messages are dead letters."""
LONGEST_GAP_S: Final = 2 * LONGEST_RETRY_S
"""Most that a failure adds to the time of failing: a clock that jumps must not end the patience."""
MAX_REASON_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class Ack:
    """Done: the events that follow are stored."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Deliver again, not sooner than `after_s` seconds from now."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Bury:
    """No retry can help: to the dead letters, under a stable `code`."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Tried:
    """The tries so far, including the delivery that has just ended."""

    polls: int = 0
    """Deliveries that found rows not searchable yet."""
    polled_s: float = 0.0
    """Their time, with the pauses between them."""
    failures: int = 0
    """Deliveries whose handler raised; polls do not count."""
    failing_s: float = 0.0
    """Since the first of the failures."""


def poison(killed: int) -> Bury | None:
    """Whether a message is buried unopened: the processes that opened it died.

    Args:
        killed: how often it was opened without an outcome.
    """
    if killed < LIVES:
        return None
    return Bury("poison", f"the process that worked on it died, {killed} times")


def settle(
    error: Exception | None, tried: Tried, *, attempts: int | None, patience_s: float | None
) -> Ack | Retry | Bury:
    """Decide what follows a delivery.

    Args:
        error: the handler's; None: it returned, and its events are stored.
        attempts: failures after which the stage gives up; None: only `patience_s` ends it.
        patience_s: how long a message is polled for, and how long it is tried while faults may pass
            by themselves; None: `PATIENCE_S`, or for ever where `attempts` is None too.
    """
    if error is None:
        return Ack()
    if isinstance(error, PermanentError | DocumentRefused):
        return Bury(code_of(error), one_line(error))
    if isinstance(error, NotYetIndexed):
        if _polled_long_enough(tried, patience_s):
            waited = f"not searchable after {tried.polled_s:.0f} s"
            return Bury("not_searchable", f"{waited}: {one_line(error)}")
        after_s = backoff_s(tried.polls, FIRST_POLL_S)
    else:
        if _tried_enough(error, tried, attempts, patience_s):
            times = f"{tried.failures} failures in {tried.failing_s:.0f} s"
            return Bury("exhausted", f"gave up after {times}: {one_line(error)}")
        after_s = backoff_s(tried.failures)
    asked_s = error.after_s if isinstance(error, TransientError) else None
    return Retry(after_s if asked_s is None else asked_s)


def _polled_long_enough(tried: Tried, patience_s: float | None) -> bool:
    enough = tried.polls >= FEWEST_POLLS
    return patience_s is not None and tried.polled_s >= patience_s and enough


def _tried_enough(
    error: Exception, tried: Tried, attempts: int | None, patience_s: float | None
) -> bool:
    """Whether to give up: after some attempts at a lasting fault, after a time at a passing one.

    A store or a device that is away for minutes must not turn a whole queue into dead letters.
    """
    if attempts is None and patience_s is None:
        return False
    if tried.failures < (attempts or FEWEST_ATTEMPTS):
        return False
    may_pass = attempts is None or isinstance(error, TransientError | ConfigurationError)
    failing_s = min(tried.failing_s, tried.failures * LONGEST_GAP_S)
    return not may_pass or failing_s >= (PATIENCE_S if patience_s is None else patience_s)


def backoff_s(times: int, first_s: float = FIRST_RETRY_S) -> float:
    """Seconds before the next delivery: `first_s`, then four times as long each time, to 60."""
    return float(min(LONGEST_RETRY_S, first_s * GROWTH ** min(max(times, 1) - 1, 20)))


def code_of(error: Exception) -> str:
    """The stable code of an error, e.g. `malformed_event`."""
    if isinstance(error, DocumentRefused):
        return error.code
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()


def one_line(error: Exception | None) -> str:
    """The public part of an error: the text of our own, the type of foreign ones.

    A library may quote the document in its message; ours never do.
    """
    ours = isinstance(error, InstepError | ConfigurationError)
    text = f"{type(error).__name__}: {error}" if ours else type(error).__name__
    return " ".join(text.split())[:MAX_REASON_CHARS]


Verdict = Ack | Retry | Bury

UNNOTED_POLLS: Final = 6
"""Deliveries of a message that is polled for, without a note: most are found within a second."""


def before(stage: Stage[Any], known: Known, *, delivery: int) -> Retry | Bury | None:
    """The outcome of a message that is not opened; None: open it.

    Args:
        delivery: which one this is, as the server counts.
    """
    verdict = poison(known.trouble.killed)
    if verdict is not None and stage.stream == RECORDER.stream:
        return Retry(backoff_s(delivery))  # its document would stay without any outcome
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
    """The trouble after a delivery has ended, and the outcome of its message.

    Args:
        error: the handler's; None: it returned, and its events are stored.
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
