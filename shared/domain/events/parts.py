"""CHUNKS and VECTORS: parts of a revision on their way to the store."""

import base64
import re
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from shared.domain.events.base import Batch, Document, Event, Listed, Metadata, Model, Scalar
from shared.domain.ids import cache_key, short_digest
from shared.domain.metadata import embedded_context
from shared.domain.priority import BULK, EXPRESS, Lane

_POSITION = re.compile(r"\A(?:page|slide) [0-9]{1,6}\Z")


class PartRow(Model):
    """A row to be written: everything that the index stores about a chunk, except its vector."""

    id: str
    chunk_key: str
    born: int
    text: str
    heading: Listed[str] = ()
    title: str = ""
    metadata: Metadata = Field(default={})

    @property
    def embedded_text(self) -> str:
        """The text that the model reads."""
        return embedded(self.title, self.heading, self.text, self.metadata)


def embedded(title: str, heading: Sequence[str], text: str, stored: Mapping[str, Scalar]) -> str:
    """The text that the model reads for a row.

    Args:
        stored: metadata of the row, with the context that a template has made; without one, title
            and heading path are the context.
    """
    if (context := embedded_context(stored)) is not None:
        before, after = context
        return f"{before}{text}{after}"
    return with_context(title, tuple(heading), text)


def with_context(title: str, heading: tuple[str, ...], text: str) -> str:
    """One context line `title > heading > heading`, then the text; the title is not repeated."""
    path = [part for part in (title, *named(heading)) if part]
    if len(path) > 1 and path[0] == path[1]:
        path = path[1:]
    context = " > ".join(path)
    return f"{context}\n{text}" if context else text


def named(heading: Sequence[str]) -> list[str]:
    """The headings without numbers of pages and slides: one more page at the front of a document
    would give every later chunk another text to encode.
    """
    return [part for part in heading if part and not _POSITION.match(part)]


class DocumentEnriched(Event):
    """A part of a pending revision: rows that are still to be encoded and written."""

    stream: ClassVar[str] = "CHUNKS"

    document: Document
    batch: Batch
    generation: str
    rows: Listed[PartRow]
    lane: Lane = EXPRESS
    """Queue that the part waits in; the subject of `bulk` ends in `.bulk`."""

    @property
    def subject(self) -> str:
        whole = f"documents.enriched.{self.generation}.{self.document.source}"
        return _in_lane(whole, self.lane)

    @property
    def work(self) -> str:
        return _work(self.document, self.rows)


class EmbeddingsReady(Event):
    """The same part with vectors; empty when a revision has nothing to write."""

    stream: ClassVar[str] = "VECTORS"

    document: Document
    batch: Batch
    generation: str
    rows: Listed[PartRow] = ()
    fingerprint: str = ""
    dims: int = 0
    count: int = 0
    vectors: str = ""
    """Base64 of `count` x `dims` row-major little-endian float32."""
    encoded: int = 0
    """Texts of this part that the model read; the others came from the cache."""
    lane: Lane = EXPRESS

    @property
    def subject(self) -> str:
        return _in_lane(f"embeddings.ready.{self.generation}.{self.document.source}", self.lane)

    @property
    def work(self) -> str:
        return _work(self.document, self.rows)

    @staticmethod
    def pack(vectors: NDArray[np.float32]) -> str:
        """Base64 of a float32 array of shape (count, dims)."""
        return base64.b64encode(np.ascontiguousarray(vectors, "<f4").tobytes()).decode()

    def unpack(self) -> NDArray[np.float32]:
        """float32, shape (count, dims). Raises ValueError when the block has another length."""
        block = np.frombuffer(base64.b64decode(self.vectors), "<f4")
        return block.reshape(self.count, self.dims) if self.count else block.reshape(0, 0)

    @model_validator(mode="after")
    def _one_vector_per_row(self) -> Self:
        if self.count != len(self.rows):
            raise ValueError("count is not the number of rows")
        return self


def cache_keys(part: DocumentEnriched, fingerprint: str) -> list[str]:
    """Keys of the vectors of a part's rows, in their order."""
    return [cache_key(fingerprint, row.embedded_text) for row in part.rows]


def _in_lane(subject: str, lane: Lane) -> str:
    return f"{subject}.{BULK}" if lane == BULK else subject


def _work(document: Document, rows: Sequence[PartRow]) -> str:
    """26 characters, of the revision and the rows of a part of it."""
    names = (document.doc_key, str(document.revision), *sorted(row.id for row in rows))
    return short_digest("\n".join(names), 26)
