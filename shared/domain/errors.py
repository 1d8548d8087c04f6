"""The tree of errors, sorted by how the caller responds.

InstepError
├── TransientError          deliver again, later             nak(delay)
│   ├── BusUnavailable          no acknowledgement from the bus
│   │   └── StreamFull              a stream has no room for new messages
│   ├── StoreUnavailable        the vector store is down, busy or lost a commit race
│   ├── EncoderBusy             no memory on the device, or its queue is full
│   ├── StillLoading            the process has just started
│   ├── FilterNotReady          rows of a version before get the terms of filters
│   ├── UnknownRevision         the ledger does not know the revision of a part
│   └── NotYetIndexed           a poll, not a failure
├── PermanentError          no retry can help                dead letter, then term
│   ├── MalformedEvent          not an event of the schema that its subject carries
│   │   └── NewerSchema             an event of a schema that this version does not know
│   ├── VectorsRejected         wrong length, not finite, or zero
│   └── ModelFailed             the model refuses the text
├── Conflict                read again and decide anew        never leaves a use case
│   ├── LedgerConflict
│   └── ChangeLogConflict
├── DocumentRefused         an outcome with a code            a refused revision
├── QuestionRefused         ask otherwise                     HTTP 400, exit status 2
└── ConfigurationError      only a person can put it right    exit status 2
    ├── NotProvisioned          the admin has to prepare the bus first; a service waits for that
    ├── StoreMismatch
    └── ModelMismatch
"""

import zlib
from collections.abc import Collection
from typing import Final

GARBAGE: Final = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    zlib.error,
)
"""Errors that the standard library raises for damaged bytes. A reader of stored values catches them
all and reports that no readable value is there."""


class InstepError(Exception):
    """Base of every error that instep raises on purpose. Texts never hold document content."""


class TransientError(InstepError):
    """Deliver the event again.

    Args:
        after_s: not sooner than this many seconds from now; None lets the bus choose by attempt.
    """

    def __init__(self, message: str, *, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


class BusUnavailable(TransientError):
    """The bus did not acknowledge in time, or has no room; the message may not be stored."""


class StreamFull(BusUnavailable):
    """The stream has no room: those that read it are behind. The message is not stored."""


class StoreUnavailable(TransientError):
    """The vector store is down, overloaded, or another writer won the commit."""


class EncoderBusy(TransientError):
    """The device has no memory left, or the queue before it is full; nothing was encoded."""


class StillLoading(TransientError):
    """The process has just started: a component that the question needs is not loaded yet."""


class FilterNotReady(TransientError):
    """Rows of a version before have no terms for filters over metadata yet; they get them."""


class UnknownRevision(TransientError):
    """A part of a revision that the ledger does not know: the ledger was lost, or lags."""


class NotYetIndexed(TransientError):
    """The store took the rows but does not find them yet: a poll, never counted as an attempt."""


class PermanentError(InstepError):
    """No retry can help: the event goes to the dead letters."""


class MalformedEvent(PermanentError):
    """The message is not an event of the schema that its subject carries."""


class NewerSchema(MalformedEvent):
    """A newer version of instep has written the message, in a schema of its own."""


class VectorsRejected(PermanentError):
    """Vectors of the wrong length, not finite, or all zero.

    Args:
        ids: the row ids concerned; other rows of the same call were written.
    """

    def __init__(self, message: str, ids: Collection[str] = ()) -> None:
        super().__init__(message)
        self.ids = frozenset(ids)


class ModelFailed(PermanentError):
    """The model cannot encode this text, alone and on a healthy device."""


class Conflict(InstepError):
    """Another writer was faster: read again and decide anew."""


class LedgerConflict(Conflict):
    """The ledger record is not at the expected revision any more."""


class ChangeLogConflict(Conflict):
    """The newest message of the document's subject is not the expected one any more."""


class DocumentRefused(InstepError):
    """The document cannot be indexed as it is; an outcome, recorded, not a failure.

    Args:
        code: stable and documented, e.g. `"empty"`; never renamed.
        reason: one sentence for a person; says what to do and never quotes the document.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class QuestionRefused(InstepError):
    """The store works, but cannot answer this question; the message never quotes it."""


class ConfigurationError(InstepError):
    """The settings or the surroundings are wrong; the message is one line that says what to do."""


class NotProvisioned(ConfigurationError):
    """The bus lacks streams or buckets that only the admin's key may create."""


class StoreMismatch(ConfigurationError):
    """The collection exists with another dimension, metric or schema."""


class ModelMismatch(ConfigurationError):
    """The weights are not those that the index was built with."""
