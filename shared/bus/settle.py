"""What becomes of a delivery: from what its handler raised to what JetStream is told. Pure."""

import re
from dataclasses import dataclass
from typing import Final

from shared.errors import (
    ConfigurationError,
    DocumentRefused,
    InstepError,
    NotSearchableInTime,
    NotYetIndexed,
    PermanentError,
    TransientError,
)

FIRST_RETRY_S: Final = 0.5
GROWTH: Final = 4.0
LONGEST_RETRY_S: Final = 60.0
FIRST_POLL_S: Final = 0.1
POLLS_BEFORE_PATIENCE_ENDS: Final = 3
"""Deliveries that even an old message gets: it may have waited in the queue all the time."""
MAX_REASON_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class Ack:
    """Done: what follows from the event is stored."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Deliver again, not sooner than `after_s` seconds from now."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Bury:
    """No retry can help: to the dead letters, under a stable `code`."""

    code: str
    reason: str


def before(*, delivery: int, attempts: int | None) -> Bury | None:
    """Whether a message is buried unopened: it took every process down that it was given to.

    Args:
        delivery: which delivery this is, counting from 1.
        attempts: deliveries that the stage allows; None: any number.
    """
    if attempts is not None and delivery > attempts:
        return Bury("poison", f"{attempts} deliveries never ended: its process died each time")
    return None


def settle(
    error: Exception | None,
    *,
    delivery: int,
    attempts: int | None,
    age_s: float = 0.0,
    patience_s: float | None = None,
) -> Ack | Retry | Bury:
    """Decide what follows a delivery.

    Args:
        error: what the handler raised; None: it returned, and its events are stored.
        delivery: which delivery this was, counting from 1.
        attempts: deliveries after which the stage gives up; None: only `patience_s` ends it.
        age_s: seconds since the message was stored.
        patience_s: age after which a message that still cannot be settled is given up.
    """
    if error is None:
        return Ack()
    if isinstance(error, PermanentError | DocumentRefused):
        return Bury(code_of(error), one_line(error))
    if _out_of_patience(delivery, age_s, patience_s) and (
        attempts is None or isinstance(error, NotYetIndexed)
    ):
        return Bury("not_searchable", f"not searchable after {age_s:.0f} s: {one_line(error)}")
    polls = isinstance(error, NotYetIndexed)
    if not polls and attempts is not None and delivery >= attempts:
        return Bury("exhausted", f"gave up after {delivery} deliveries: {one_line(error)}")
    if isinstance(error, TransientError) and error.after_s is not None:
        return Retry(error.after_s)
    return Retry(backoff_s(delivery, FIRST_POLL_S if polls else FIRST_RETRY_S))


def backoff_s(delivery: int, first_s: float = FIRST_RETRY_S) -> float:
    """Seconds before the next delivery: `first_s`, then four times as long each time, to 60."""
    return float(min(LONGEST_RETRY_S, first_s * GROWTH ** min(delivery - 1, 20)))


def code_of(error: Exception) -> str:
    """The stable code of an error, e.g. `malformed_event`."""
    if isinstance(error, DocumentRefused):
        return error.code
    if isinstance(error, NotSearchableInTime):
        return "not_searchable"
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()


def one_line(error: Exception | None) -> str:
    """What may be shown of an error: our own words, and of foreign ones the type only.

    A library may quote the document in its message; ours never do.
    """
    ours = isinstance(error, InstepError | ConfigurationError)
    text = f"{type(error).__name__}: {error}" if ours else type(error).__name__
    return " ".join(text.split())[:MAX_REASON_CHARS]


def _out_of_patience(delivery: int, age_s: float, patience_s: float | None) -> bool:
    return patience_s is not None and age_s >= patience_s and delivery >= POLLS_BEFORE_PATIENCE_ENDS
