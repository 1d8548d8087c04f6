"""A whole instep in memory: the real use cases over memory ports, one message at a time."""

import json
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import numpy as np
from intake_door import no_web
from memory_change_log import MemoryChangeLog
from memory_content import MemoryContent
from memory_kv import MemoryShelf
from memory_ledger import MemoryLedger
from memory_vector_cache import MemoryCache

from services.embedder.embed import Embed
from services.enricher.enrich import Enrich
from services.enricher.fetch import Load
from services.enricher.prepare import PrepareDocument
from services.gateway.models import SearchRequest
from services.gateway.search.search import Search
from services.indexer.index import Index
from services.producer.submissions.intake import AcceptSubmission
from shared.batches.members import BatchBook
from shared.domain.events import (
    Batch,
    Document,
    DocumentChanged,
    DocumentEnriched,
    EmbeddingsReady,
    Event,
    Inline,
    Receipt,
)
from shared.domain.ids import content_hash, doc_key
from shared.domain.ordering import State, state
from shared.observe.progress import Progress
from shared.ports import Delivery, Encoder, VectorStore
from shared.repair import resubmit
from shared.settings import Chunking, TemplateChunking
from shared.stores.memory import MemoryStore

GENERATION, SOURCE, DIMENSIONS = "gguide", "docs", 64
WORD = re.compile(r"\w+")


class Words:
    """A tokenizer for which a token is a word."""

    window = 254

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        return [match.span() for match in re.finditer(r"\S+", text)]

    def count(self, texts: Sequence[str]) -> Sequence[int]:
        return [len(self.offsets(text)) for text in texts]


@dataclass
class BagOfWords:
    """A model for which texts are alike when they share words. `read`: every text it was given."""

    fingerprint: str = "bag-of-words"
    dimensions: int = DIMENSIONS
    read: list[str] = field(default_factory=list)

    async def encode(self, texts: Sequence[str], *, alone: bool = False) -> np.ndarray:
        self.read += texts
        vectors = np.full((len(texts), DIMENSIONS), 0.01, np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for word in WORD.findall(text.lower()):
                vector[sha256(word.encode()).digest()[0] % DIMENSIONS] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class House:
    """Everything that `instep up` runs, without bus, disk, model and clock."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)
        self.changes, self.ledger = MemoryChangeLog(first=1000), MemoryLedger()
        self.store, self.model = MemoryStore(DIMENSIONS), BagOfWords()
        self.cache, self.bodies = MemoryCache(), MemoryContent()
        self.parts: deque[DocumentEnriched] = deque()
        self.vectors: deque[EmbeddingsReady] = deque()
        self.results: list[Event] = []
        self.receipts: list[Receipt] = []
        self._read = self._intake = 0
        progress = Progress()
        self._chunking: dict[str, Chunking] = {}
        prepare = PrepareDocument(Load(self.bodies), Words(), Chunking(), self._chunking)
        self._enrich = Enrich(GENERATION, self.ledger, self.changes, prepare, self._now, progress)
        self._embed = Embed(GENERATION, self.ledger, self.cache, self.model, progress)
        self._index = Index(
            GENERATION, "bag-of-words", self.ledger, self.store, self._publish, self._now, progress
        )
        self._accept = AcceptSubmission(
            generation=GENERATION,
            changes=self.changes,
            bodies=self.bodies,
            batches=BatchBook(MemoryShelf(), "g1"),
            reply=self._receipt,
            now=self._now,
            fetch=no_web,
        )
        self._search = Search(self._opened, self.ledger, self._loaded, GENERATION)

    async def _opened(self) -> VectorStore:
        return self.store

    async def _loaded(self) -> Encoder:
        return self.model

    # -- what people and other systems do ----------------------------------------------------------

    async def write(self, path: str, text: str) -> int:
        """A file was created or edited; the revision of the change."""
        content = Inline.of(text.encode())
        return await self._change(path, "upserted", content, content_hash(text.encode()))

    async def delete(self, path: str) -> int:
        return await self._change(path, "deleted", None, None)

    async def submit(self, **fields: object) -> Receipt:
        """Another system sends a message; its receipt."""
        self._intake += 1
        delivery = Delivery(
            self._intake,
            subject=f"documents.submitted.{SOURCE}",
            headers={"Instep-Reply-To": "_INBOX.guide"},
        )
        self.results += await self._accept(json.dumps(fields).encode(), delivery)
        return self.receipts[-1]

    async def search(self, question: str, **fields: object) -> list[str]:
        """Texts of the chunks that are found, best first."""
        request = SearchRequest(q=question, group_by="chunk", **fields)
        return [hit.chunk.text for hit in (await self._search(request)).hits]

    async def state(self, path: str) -> State:
        key = doc_key(SOURCE, path)
        entry = await self.ledger.get(key)
        newest = await self.changes.newest(SOURCE, key)
        return state(entry.record if entry else None, newest.sequence if newest else 0)

    def templated(self, template: str) -> None:
        """Another template of embedded text, for documents that are cut from now on."""
        self._chunking[SOURCE] = TemplateChunking(template=template)

    # -- what the services do ----------------------------------------------------------------------

    async def work(self) -> None:
        """Until nothing is left to do."""
        while await self.enrich() or await self.embed() or await self.index():
            pass

    async def enrich(self) -> bool:
        """One change, if there is one. DOCS keeps only the newest of each document."""
        while self._read < len(self.changes.appended):
            change = self.changes.appended[self._read]
            self._read += 1
            newest = await self.changes.newest(SOURCE, change.document.doc_key)
            if newest and newest.sequence == change.document.revision:
                await self._follow(await self._enrich(change, Delivery(newest.sequence)))
                return True
        return False

    async def embed(self) -> bool:
        """One part, if there is one."""
        if not self.parts:
            return False
        await self._follow(await self._embed(self.parts.popleft(), Delivery(1)))
        return True

    async def index(self, part: EmbeddingsReady | None = None) -> bool:
        """One part with vectors, if there is one, or a given one again."""
        if part is None and not self.vectors:
            return False
        await self._follow(await self._index(part or self.vectors.popleft(), Delivery(1)))
        return True

    async def repair(self, path: str) -> None:
        """What retry, sweep and dead letters do."""
        await resubmit(self.changes, SOURCE, doc_key(SOURCE, path), generation=GENERATION)

    # -- inside ------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        self.time += timedelta(milliseconds=100)
        return self.time

    async def _change(self, path, op, content, digest) -> int:
        key, now = doc_key(SOURCE, path), self._now()
        newest = await self.changes.newest(SOURCE, key)
        change = DocumentChanged(
            document=Document(source=SOURCE, path=path, doc_key=key, changed_at=now),
            batch=Batch(id="guide", count=1, source=SOURCE, started_at=now),
            op=op,
            content=content,
            content_hash=digest,
        )
        expect = newest.sequence if newest else 0
        return await self.changes.append(change, expect=expect, message_id=f"guide:{now}")

    async def _follow(self, events: Sequence[Event]) -> None:
        for event in events:
            await self._publish(event)

    async def _publish(self, event: Event) -> None:
        if isinstance(event, DocumentEnriched):
            self.parts.append(event)
        elif isinstance(event, EmbeddingsReady):
            self.vectors.append(event)
        else:
            self.results.append(event)

    async def _receipt(self, inbox: str, receipt: Receipt) -> None:
        self.receipts.append(receipt)
