"""The ports of the bus and of the ledger on it."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from shared.domain.codecs.change_codec import UnreadableChange
from shared.domain.events import Batch, Document, DocumentChanged, Event
from shared.domain.ordering import Record


class Publish(Protocol):
    async def __call__(self, event: Event) -> None:
        """Store the event on its stream; return when the bus has acknowledged it.

        Raises:
            BusUnavailable: no acknowledgement, after retries with the same message id.
        """
        ...


@dataclass(frozen=True, slots=True)
class Submitted:
    """A submission that the bus has.

    sequence: of its message in INTAKE; of the first one where its message id came before.
    receipt: as the producer answered, or None before an answer.
    """

    sequence: int
    duplicate: bool
    receipt: Mapping[str, Any] | None


class Intake(Protocol):
    """The way of submissions to the producer."""

    async def open(self) -> None:
        """Listen for receipts. Raises BusUnavailable; repeating is safe."""
        ...

    async def submit(
        self,
        source: str,
        body: Mapping[str, Any],
        *,
        token: str,
        message_id: str,
        wait_s: float = ...,
    ) -> Submitted:
        """Store a submission and wait for its receipt.

        Args:
            token: names the wait; a part of a subject.
            message_id: the bus stores the submissions with one id once.

        Raises:
            PermanentError: it is larger than a message may be.
            ConfigurationError: the key of this process may not publish for the source.
            BusUnavailable: it may not be stored. StreamFull: it is not.
        """
        ...


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest message of a document's subject in DOCS."""

    sequence: int
    change: DocumentChanged | UnreadableChange

    @property
    def readable(self) -> DocumentChanged | None:
        """The change, if it is one."""
        return self.change if isinstance(self.change, DocumentChanged) else None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that instep gave up."""

    id: int
    """Sequence in DLQ."""
    stream: str
    """Where it came from."""
    consumer: str
    subject: str
    sequence: int
    """Sequence in `stream`."""
    document: Document | None
    """None: the message names no document, e.g. because it is malformed."""
    code: str
    reason: str
    deliveries: int
    at: datetime
    batch: Batch | None = None


@dataclass(frozen=True, slots=True)
class StreamCapacity:
    """How full one stream is."""

    name: str
    used_bytes: int
    max_bytes: int
    """0: no limit."""
    refuses: bool
    """The stream refuses new messages when full; else the oldest go."""

    @property
    def share(self) -> float:
        return self.used_bytes / self.max_bytes if self.max_bytes > 0 else 0.0


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A message of RESULTS."""

    sequence: int
    subject: str
    data: bytes


class Results(Protocol):
    """RESULTS: the outcomes of one generation, which anybody may read from any place."""

    async def next(self, after: int, source: str = "") -> StoredResult | None:
        """The first message of the generation with a sequence above `after`; None: there is none
        yet. Raises BusUnavailable.

        Args:
            source: only messages about this source.
        """
        ...

    async def bounds(self) -> tuple[int, int]:
        """Sequences of the oldest and of the newest message that the stream has had.

        The oldest is above the newest where all messages are gone. Raises BusUnavailable.
        """
        ...


class ChangeLog(Protocol):
    """DOCS: the newest change of every document."""

    def sequences(self, source: str | None = None) -> AsyncIterator[tuple[str, str, int]]:
        """Source, doc_key and newest sequence of every document (of one source); no contents.

        One that changes meanwhile may come twice, the newer last. Raises BusUnavailable.
        """
        ...

    async def newest(self, source: str, doc_key: str) -> Newest | None:
        """The newest message of the document's subject, from the leader, never from a cache.

        One that is no change has its sequence all the same: `append` may replace it. Raises
        BusUnavailable.
        """
        ...

    async def bodies(self) -> Set[str]:
        """Hashes of the stored bodies that the newest changes refer to. Raises BusUnavailable."""
        ...

    async def append(self, change: DocumentChanged, *, expect: int, message_id: str) -> int:
        """Publish the change if the subject's newest sequence still is `expect` (0: none).

        Returns:
            The sequence of the change: the document's new revision.

        Raises:
            ChangeLogConflict: the subject has another newest message.
            BusUnavailable: it may be stored or not; start again from `newest`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """The facts that a handler may know of its message."""

    sequence: int
    """Stream sequence of the message."""
    attempt: int = 1
    """Which delivery of it this is, counting from 1."""
    age_s: float = 0.0
    """Seconds since the message was stored."""
    subject: str = ""
    """The subject it was published on."""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """A record and the ledger revision it was read at."""

    record: Record
    at: int


class Ledger(Protocol):
    """One record per document of one generation, changed by compare-and-set only."""

    async def get(self, doc_key: str) -> Entry | None:
        """The record, never older than one this process has read or written before.

        A value that this version cannot read counts as absent, here and in `get_many`; `update`
        replaces it.
        """
        ...

    async def update(self, doc_key: str, record: Record, *, expect: int) -> int:
        """Replace the record that was read at `expect` (0: there is none yet).

        Returns:
            The new ledger revision.

        Raises:
            LedgerConflict: the record is at another revision.
            BusUnavailable: it may be written or not; read again.
        """
        ...

    async def get_many(self, doc_keys: Collection[str]) -> Mapping[str, Record]:
        """Records of the documents that have one; for reading, not for deciding."""
        ...

    def entries(self) -> AsyncIterator[tuple[str, Record | None]]:
        """Every doc_key and record, in any order; None: the value cannot be read."""
        ...

    async def follow(self) -> "LedgerFeed":
        """Every record, and every change from then on. Raises BusUnavailable."""
        ...


class LedgerChange(NamedTuple):
    """The new state of a doc_key: a record, an unreadable value, or none."""

    doc_key: str
    record: Record | None
    unreadable: bool = False


class FeedState(NamedTuple):
    """What the ledger says of the changes that were passed on."""

    is_whole: bool
    """Every removal of a record was among them."""
    is_current: bool
    """All that was written before the last round of `more` began was among them."""


class LedgerFeed(Protocol):
    """Records and their changes, in their order. After any error another one has to be begun."""

    async def more(self) -> Sequence[LedgerChange]:
        """The next ones; empty: that is all for now.

        Raises:
            BusUnavailable: no answer, or changes are missing.
        """
        ...

    async def state(self, keys: int) -> FeedState:
        """Whether changes are missing.

        Args:
            keys: different doc_keys that were passed on, gone ones too.
        """
        ...

    async def close(self) -> None: ...
