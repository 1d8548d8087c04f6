"""A small index in memory, filled by hand: what the gateway is asked about."""

import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from memory_change_log import MemoryChangeLog
from memory_ledger import MemoryLedger

from services.gateway.commands import InstanceCommands
from services.gateway.models import CheckView, SourceView, ValidateAnswer
from services.gateway.queries import InstanceQueries, all_letters
from services.gateway.search.search import Search
from services.gateway.status.snapshots import InstanceSnapshots
from services.gateway.status.status import Observation, StageSeen
from shared.domain.events import Batch, Document, DocumentChanged, Inline
from shared.domain.ids import doc_key, row_id
from shared.domain.ordering import Failed, Reason, Revision, revise, settle, written
from shared.domain.services import stages
from shared.ports import Row
from shared.settings import SearchSettings
from shared.stores.memory import MemoryStore

DIMENSIONS = 64
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC).timestamp()


class WordsEncoder:
    """Texts with common words are near: each word is a direction."""

    fingerprint = "words"
    dimensions = DIMENSIONS

    def __init__(self):
        self.texts = []

    async def encode(self, texts):
        self.texts += texts
        return np.stack([self.vector(text) for text in texts])

    def vector(self, text):
        total = np.full(DIMENSIONS, 1e-3, np.float32)
        for word in re.findall(r"\w+", text.lower()):
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
            total += np.random.default_rng(seed).standard_normal(DIMENSIONS).astype(np.float32)
        return total / np.linalg.norm(total)


def chunk_key(text):
    digest = hashlib.sha256(text.encode()).hexdigest()
    return "".join("abcdefghijklmnopqrstuvwxyz234567"[int(c, 16)] for c in digest[:25]) + "a"


def given(what):
    """As what asks for a store or an encoder that is loaded."""

    async def get():
        return what

    return get


class NothingHeld:
    """Folders that are watched, and of which nothing is held."""

    async def list(self):
        return []

    async def release(self, source):
        return 0

    async def keep(self, source):
        return 0


class Index:
    """Store, ledger and change log of one generation, and the gateway over them."""

    def __init__(self):
        self.store = MemoryStore(DIMENSIONS)
        self.ledger = MemoryLedger()
        self.changes = MemoryChangeLog()
        self.encoder = WordsEncoder()
        self.stages = [
            StageSeen(stage.word, 0, 0, stage.takes, 0)
            for stage in stages("g")
            if stage.takes != "results"
        ]
        self.listed = True
        self.held = 0
        self.health = {}
        self.letters = []
        self.sources = (SourceView(name="docs", kind="folder", path="/home/me/docs"),)
        self.looks = InstanceSnapshots(self.observe, self.ledger)
        self.search = Search(
            given(self.store),
            self.ledger,
            given(self.encoder),
            "gtest",
            SearchSettings(),
            self.looks.freshness,
        )
        self.queries = InstanceQueries(
            search_index=self.search,
            store=given(self.store),
            ledger=self.ledger,
            changes=self.changes,
            looks=self.looks,
            removals=NothingHeld(),
            check=self.check,
            generation="gtest",
            version_text="0.1.0",
            sources=self.sources,
            dead_letters=self,
        )
        self.commands = InstanceCommands(
            self.queries, self.changes, self.ledger, "gtest", self.validate, self
        )

    async def observe(self):
        return Observation(
            at=NOW + 10,
            stages=tuple(self.stages),
            listed=self.listed,
            held=self.held,
            sources=self.health,
        )

    async def check(self):
        return [CheckView(name="bus", level="ok", text="connected")]

    async def validate(self, request):
        return ValidateAnswer(passed=True, checks=(), generation="gtest", rows=3, expected_rows=3)

    async def list(self, *, limit, wanted=all_letters):
        return [letter for letter in self.letters if wanted(letter)][:limit]

    async def drop(self, id):
        before = len(self.letters)
        self.letters = [letter for letter in self.letters if letter.id != id]
        return len(self.letters) < before

    async def change(self, path, *, source="docs", op="upserted"):
        """Publish a change; returns its revision."""
        key = doc_key(source, path)
        at = datetime.fromtimestamp(NOW, UTC)
        newest = await self.changes.newest(source, key)
        change = DocumentChanged(
            document=Document(source=source, path=path, doc_key=key, changed_at=at),
            batch=Batch(id="b", count=1, source=source, started_at=at),
            op=op,
            content=None if op == "deleted" else Inline.of(b"text"),
        )
        expect = newest.sequence if newest else 0
        return await self.changes.append(change, expect=expect, message_id=f"m{expect}{key}")

    async def put(self, path, chunks, *, source="docs", **kind):
        """Change a document and bring it to the end: texts, or nothing for a deletion."""
        key, revision = await self.begin(path, chunks, source=source, **kind)
        entry = await self.ledger.get(key)
        pending = entry.record.pending
        done = written(entry.record, pending.rows, encoded=len(pending.todo))
        await self.ledger.update(key, settle(done, now=NOW + 0.5), expect=entry.at)
        return key, revision

    async def begin(
        self, path, chunks, *, source="docs", outcome=None, reason=None, metadata=None, **told
    ):
        """Change a document and write its rows, without settling."""
        outcome = outcome or ("indexed" if chunks else "removed")
        op = "deleted" if outcome == "removed" else "upserted"
        revision = await self.change(path, source=source, op=op)
        key = doc_key(source, path)
        entry = await self.ledger.get(key)
        wanted = Revision(
            revision,
            outcome,
            tuple(chunk_key(text) for text in chunks) if outcome == "indexed" else (),
            changed_at=NOW,
            reason=reason,
            **told,
        )
        record = revise(
            entry.record if entry else None, wanted, source=source, path=path, now=NOW + 0.1
        )
        rows = {ref.chunk_key: ref for ref in record.pending.todo}
        await self.store.upsert(
            [
                self.row(key, source, path, text, rows[chunk_key(text)], metadata)
                for text in chunks
                if chunk_key(text) in rows
            ]
        )
        await self.ledger.update(key, record, expect=entry.at if entry else 0)
        return key, revision

    def row(self, key, source, path, text, ref, metadata=None):
        return Row(
            id=row_id(key, ref.chunk_key, ref.born),
            doc_key=key,
            source=source,
            path=path,
            born=ref.born,
            chunk_key=ref.chunk_key,
            title=path,
            heading=("Top",),
            text=text,
            metadata=metadata or {},
            vector=self.encoder.vector(text),
        )

    async def fail(self, path, code="exhausted", *, source="docs"):
        """Note the failure of the newest revision of a document."""
        key = doc_key(source, path)
        entry = await self.ledger.get(key)
        pending = entry.record.pending
        failed = Failed(pending.seq, "index", Reason(code, "the store is down"))
        await self.ledger.update(key, replace(entry.record, failed=failed), expect=entry.at)
        return key
