"""What the services need from the world. Protocols only; an adapter lives beside its vendor's SDK.

Every adapter, fakes included, passes the contract suite of its port under `tests/contract/`.
Adapters raise the errors of `shared.errors` only.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.events import DocumentChanged, Event, Scalar
from shared.ordering import Record

Vector = NDArray[np.float32]
Vectors = NDArray[np.float32]
Now = Callable[[], datetime]


# -- bus -------------------------------------------------------------------------------------------


class Publish(Protocol):
    async def __call__(self, event: Event) -> None:
        """Store the event on its stream; return when the bus has acknowledged it.

        Raises:
            BusUnavailable: no acknowledgement, after retries with the same message id.
        """
        ...


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest change of a document and its sequence in DOCS."""

    sequence: int
    change: DocumentChanged


class ChangeLog(Protocol):
    """DOCS: the newest change of every document."""

    def sequences(self, source: str | None = None) -> AsyncIterator[tuple[str, str, int]]:
        """Source, doc_key and newest sequence of every document (of one source); no contents.

        One that changes meanwhile may come twice, the newer last. Raises BusUnavailable.
        """
        ...

    async def newest(self, source: str, doc_key: str) -> Newest | None:
        """The newest message of the document's subject, from the leader, never from a cache."""
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
            BusUnavailable: nothing is known; start again from `newest`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a handler may know of the message it was given."""

    sequence: int
    """Stream sequence of the message."""
    attempt: int = 1
    """Which delivery of it this is, counting from 1."""
    age_s: float = 0.0
    """Seconds since the message was stored."""
    subject: str = ""
    """The subject it was published on."""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def suspect(self) -> bool:
        """Delivered before, without an end: it may have killed its process, so it goes alone."""
        return self.attempt > 1


# -- ledger ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """A record and the ledger revision it was read at."""

    record: Record
    at: int


class Ledger(Protocol):
    """One record per document of one generation, changed by compare-and-set only."""

    async def get(self, doc_key: str) -> Entry | None:
        """The record, never older than one this process has read or written before."""
        ...

    async def update(self, doc_key: str, record: Record, *, expect: int) -> int:
        """Replace the record that was read at `expect` (0: there is none yet).

        Returns:
            The new ledger revision.

        Raises:
            LedgerConflict: the record is at another revision.
            BusUnavailable: nothing is known; read again.
        """
        ...

    async def get_many(self, doc_keys: Collection[str]) -> Mapping[str, Record]:
        """Records of the documents that have one; for reading, not for deciding."""
        ...

    def entries(self) -> AsyncIterator[tuple[str, Record]]:
        """Every doc_key and record, in any order."""
        ...


# -- store -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A chunk as the index holds it. `vector`: float32, shape (dimensions,), L2 norm 1."""

    id: str
    doc_key: str
    source: str
    path: str
    born: int
    chunk_key: str
    title: str
    heading: tuple[str, ...]
    text: str
    metadata: Mapping[str, Scalar]
    vector: Vector


@dataclass(frozen=True, slots=True)
class Probe:
    """A row that must be searchable; with a vector, the store is asked by it, as searchers ask."""

    id: str
    vector: Vector | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows a search may return; None does not restrict."""

    sources: tuple[str, ...] | None = None
    path_prefix: str | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A row that a search found.

    score: for `vector` the cosine similarity in [-1, 1]; for `text` the store's keyword score,
    positive, comparable within one answer only.
    """

    id: str
    doc_key: str
    source: str
    path: str
    born: int
    chunk_key: str
    title: str
    heading: tuple[str, ...]
    text: str
    score: float
    metadata: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Digest:
    """Rows of one bucket of documents (`shared.identity.bucket_of`), for comparing two sides.

    Two sides hold the same rows when number and total are equal.
    """

    rows: int = 0
    total: int = 0
    """Sum of the marks (`shared.identity.mark_of`) of the rows, modulo 2**64."""

    def __add__(self, other: "Digest") -> "Digest":
        return Digest(self.rows + other.rows, (self.total + other.total) % 2**64)


@dataclass(frozen=True, slots=True)
class Holding:
    """What a store holds of one document, for the sweep."""

    doc_key: str
    source: str
    path: str
    ids: frozenset[str]
    """Of every row, the damaged ones included."""
    damaged: frozenset[str] = frozenset()
    """Rows that do not hold what was written under their id, and ids held more than once."""


class VectorStore(Protocol):
    """Rows of one generation. Row ids are single-use: an id always names the same content.

    So no call needs a condition: `upsert` inserts what is absent, and a deleted id is never
    wanted again. Every method may be called concurrently and repeated.
    """

    dimensions: int

    async def upsert(self, rows: Sequence[Row]) -> None:
        """Insert the rows whose ids are absent; present ids stay as they are.

        Any number of rows, in any order, ids may repeat. Returns once a search from any process
        would read the rows (or, for stores that index later, once they are durably queued).

        Raises:
            VectorsRejected: rows of wrong length, not finite, or zero, by id; the others are in.
            StoreUnavailable: nothing is known; repeating is safe.
        """
        ...

    async def delete(self, ids: Collection[str]) -> None:
        """Delete rows by id; absent ids are no error. Raises StoreUnavailable."""
        ...

    async def ids(self, documents: Mapping[str, int]) -> Mapping[str, frozenset[str]]:
        """Ids of each document's rows with `born` <= the given number.

        Args:
            documents: doc_key to the highest born of interest (2**53 for all).

        Returns:
            An entry for every document asked for; sees every acknowledged upsert.
        """
        ...

    async def unsearchable(self, probes: Sequence[Probe]) -> frozenset[str]:
        """Ids of the probes that a searcher would not find now."""
        ...

    async def search(self, vector: Vector, *, limit: int, where: Filter) -> Sequence[Hit]:
        """The nearest rows, best first. `vector`: float32, shape (dimensions,)."""
        ...

    async def search_text(self, text: str, *, limit: int, where: Filter) -> Sequence[Hit]:
        """The best rows by keywords (BM25), best first; odd input finds nothing, never raises."""
        ...

    async def rows(self, ids: Collection[str]) -> Mapping[str, Hit]:
        """The rows that exist among `ids` (score 0), for showing a document."""
        ...

    async def count(self) -> int:
        """Exact number of rows."""
        ...

    async def digests(self) -> Mapping[str, Digest]:
        """The digest of every bucket that has rows, from one pass over all that is stored.

        Text, metadata and vector of every row are read and compared with what was written under
        its id. A damaged row is counted and adds nothing to the total, so its bucket differs.
        Memory does not grow with the number of rows. Writes may go on meanwhile. Raises
        StoreUnavailable.
        """
        ...

    async def holdings(self, buckets: Collection[str]) -> Mapping[str, Holding]:
        """What is held of every document of the buckets that has rows, by doc_key.

        Looks as closely as `digests`. Raises StoreUnavailable.
        """
        ...

    async def maintain(self) -> None:
        """Compact, clean up, grow indexes; safe at any time, changes no row."""
        ...

    async def close(self) -> None: ...


# -- encoding --------------------------------------------------------------------------------------


class TokenCounter(Protocol):
    """The model's own tokenizer, for cutting text."""

    window: int
    """Tokens that the model reads of a text, special tokens not counted."""

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """Start and end (characters) of every token of `text`; no special tokens, no truncation."""
        ...

    def count(self, texts: Sequence[str]) -> Sequence[int]:
        """Number of tokens of each text, special tokens not counted."""
        ...


class Encoder(Protocol):
    """Turns text into unit vectors."""

    fingerprint: str
    """Digest of everything that decides a vector; never the device, the path or the batch size."""
    dimensions: int

    async def encode(self, texts: Sequence[str], *, alone: bool = False) -> Vectors:
        """Encode `texts`, keeping their order; text beyond the model's window is cut.

        Args:
            texts: any number of strings.
            alone: share no device call with others, because a text may kill the process.

        Returns:
            float32, shape (len(texts), dimensions), each row of L2 norm 1 within 1e-4.

        Raises:
            EncoderBusy: nothing was encoded; later may work.
            ModelFailed: a text that the model cannot encode.
        """
        ...


class VectorCache(Protocol):
    """Vectors by content and fingerprint (`shared.identity.cache_key`); may forget at any time."""

    async def get_many(self, keys: Collection[str]) -> Mapping[str, Vector]: ...
    async def put_many(self, vectors: Mapping[str, Vector]) -> None: ...


# -- content, listings, batches --------------------------------------------------------------------


class ContentStore(Protocol):
    """Bodies that are too large for an event, by their sha256."""

    async def put(self, data: bytes) -> str:
        """Store the bytes unless they are there; returns their hash."""
        ...

    async def get(self, content_hash: str) -> bytes:
        """The bytes. Raises KeyError when nobody stored them."""
        ...

    async def stored(self) -> Mapping[str, datetime]:
        """Hash of every body and when it was last put, at most ten minutes too early."""
        ...

    async def forget(self, content_hash: str, *, put_before: datetime) -> bool:
        """Delete the bytes unless they were put at `put_before` (aware) or later; whether it did.

        A body that is put again meanwhile stays, if `put_before` lies ten minutes back or more.
        """
        ...


class Shelf(Protocol):
    """A small key-value bucket for a service's own notes (listings, batches, instance)."""

    async def get(self, key: str) -> bytes | None: ...
    async def put(self, key: str, value: bytes) -> None: ...
    async def delete(self, key: str) -> None: ...
    async def get_many(self, keys: Collection[str]) -> Mapping[str, bytes]: ...
    async def keys(self, prefix: str = "") -> Sequence[str]: ...


# -- removals that wait ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hold:
    """Removals of one source that wait for a person; the documents are still found by search."""

    source: str
    since: datetime
    vanished: int
    """Documents whose files are gone."""
    of: int
    """Documents of the source, with those."""
    sample: tuple[str, ...]
    """Some of the paths."""
    kept: bool
    """A person has said that the documents shall stay; nobody is asked again."""


class Holds(Protocol):
    """The removals that wait in the folders that this process watches."""

    async def list(self) -> Sequence[Hold]:
        """One for each source that has some, by name."""
        ...

    async def release(self, source: str) -> int:
        """List the folder again and remove what has vanished.

        Returns:
            Documents removed. 0: nothing was held, it has come back, or much more has vanished
            than `list` showed, and all of it still waits.

        Raises:
            TransientError: the folder cannot be listed; nothing was removed.
            BusUnavailable: nothing is known.
        """
        ...

    async def keep(self, source: str) -> int:
        """Leave the documents in the index until their files come back or they are released.

        Returns:
            Documents concerned. 0: nothing was held.

        Raises:
            BusUnavailable: nothing is known.
        """
        ...


# -- the source's side of the sweep ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Audit:
    """A source's files against what the bus and the ledger know of them."""

    source: str
    files: int
    submitted: int = 0
    """Files that were not known, or otherwise: accepted again."""
    removed: int = 0
    """Documents without a file: removed."""
    held: int = 0
    """Documents without a file whose removal waits for a person."""
    error: str = ""
    """Why the source could not be listed; nothing was done then."""


class Auditor(Protocol):
    """The sources that this process watches."""

    async def __call__(self, *, dry_run: bool = False) -> Sequence[Audit]:
        """List every source, compare, put right; with `dry_run` count what would be done.

        Raises:
            BusUnavailable: nothing is known; repeating is safe.
        """
        ...


Mode = Literal["vector", "keyword", "hybrid"]
