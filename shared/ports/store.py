"""The port of the index, and the rows it holds."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from shared.domain.events import Scalar
from shared.domain.filters.where import Where
from shared.ports.encoding import Vector

Mode = Literal["vector", "keyword", "hybrid"]


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
    """A row that must be searchable; with a vector, the store searches for it, as a query does."""

    id: str
    vector: Vector | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """The rows that a search may return; None does not restrict.

    Every store applies it before it cuts its lists, so few rows among many are found.
    """

    sources: tuple[str, ...] | None = None
    path_prefix: str | None = None
    where: Where | None = None
    """Must hold beside the others."""


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
    """Rows of one bucket of documents (`shared.domain.ids.bucket_of`), for comparing two sides.

    Two sides hold the same rows when number and total are equal.
    """

    rows: int = 0
    total: int = 0
    """Sum of the marks (`shared.domain.ids.mark_of`) of the rows, modulo 2**64."""

    def __add__(self, other: "Digest") -> "Digest":
        return Digest(self.rows + other.rows, (self.total + other.total) % 2**64)


@dataclass(frozen=True, slots=True)
class Holding:
    """The rows of one document in a store, for the sweep."""

    doc_key: str
    source: str
    path: str
    ids: frozenset[str]
    """Of every row, the damaged ones included."""
    damaged: frozenset[str] = frozenset()
    """Rows that were altered since their writing, and ids held more than once."""


class VectorStore(Protocol):
    """Rows of one generation. Row ids are single-use: an id always names the same content.

    So no call needs a condition: `upsert` twice is `upsert` once, and a deleted id is never
    wanted again. Every method may be called concurrently and repeated.
    """

    dimensions: int

    async def upsert(self, rows: Sequence[Row]) -> None:
        """Have the rows in the store; rows with the same content stay as they are.

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
        """Ids of the probes that a search would not find now."""
        ...

    async def search(self, vector: Vector, *, limit: int, where: Filter) -> Sequence[Hit]:
        """The nearest rows, best first. `vector`: float32, shape (dimensions,).

        A filter that no row can fit finds nothing. Raises StoreUnavailable, QuestionRefused, and
        FilterNotReady where it compares metadata and rows of a version before lack their terms.
        """
        ...

    async def search_text(self, text: str, *, limit: int, where: Filter) -> Sequence[Hit]:
        """The best rows by keywords (BM25), best first.

        The text is words only: no character of it is syntax. Raises as `search`.
        """
        ...

    async def rows(self, ids: Collection[str]) -> Mapping[str, Hit]:
        """The rows that exist among `ids` (score 0), for showing a document."""
        ...

    async def vectors(self, ids: Collection[str]) -> Mapping[str, Vector]:
        """The vectors of the rows that exist among `ids`: float32, shape (dimensions,), norm 1."""
        ...

    async def count(self) -> int:
        """Exact number of rows."""
        ...

    async def digests(self) -> Mapping[str, Digest]:
        """The digest of every bucket that has rows, from one pass over all that is stored.

        Text, metadata and vector of every row are read and compared with the writing under its id.
        A damaged row is counted and adds nothing to the total, so its bucket differs. Memory does
        not grow with the number of rows. Writes may go on meanwhile. Raises StoreUnavailable.
        """
        ...

    async def holdings(self, buckets: Collection[str]) -> Mapping[str, Holding]:
        """The holding of every document of the buckets that has rows, by doc_key.

        Looks as closely as `digests`. Raises StoreUnavailable.
        """
        ...

    async def lag_s(self) -> float | None:
        """Seconds until a search by vector finds a new row while others are written.

        Tried with rows that are no document's, in a place of their own. None: a row is found as
        soon as it is acknowledged, by the kind of store. Raises StoreUnavailable.
        """
        ...

    async def incarnation(self) -> str | None:
        """Which making of the index this is; a deleted one is made anew first.

        Another one than before is empty, or was, or is a copy that a person has put in its place:
        it has to be compared and filled. None: by its kind, the store cannot be lost while it is
        open. Raises StoreUnavailable.
        """
        ...

    async def maintain(self) -> None:
        """Compact, clean up, grow indexes; safe at any time, changes no row."""
        ...

    async def close(self) -> None: ...
