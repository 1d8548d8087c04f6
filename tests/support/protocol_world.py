"""A deterministic world for the real use cases: every await of a port is a step that a test orders.

Nothing runs by itself. A worker is a coroutine that stops before each call of a port; stepping it
performs that call and runs on to the next one. Messages stay until somebody acknowledges them and
may be given to any free worker at any time, again while an earlier worker still runs (a zombie).
A crash drops a coroutine between two calls. So a list of small numbers, the tape, is one history,
and hypothesis can shrink it.
"""

from __future__ import annotations

import functools
import hashlib
from base64 import b32encode
from collections.abc import Callable, Collection, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from services.embedder.embed import Embed
from services.enricher import parts
from services.enricher.enrich import Enrich
from services.enricher.parts import KeyedChunk, Prepared
from services.indexer.index import Index
from shared.domain.codecs.record_codec import from_bytes, to_bytes
from shared.domain.errors import (
    BusUnavailable,
    ChangeLogConflict,
    DocumentRefused,
    LedgerConflict,
    TransientError,
)
from shared.domain.events import (
    Batch,
    Document,
    DocumentChanged,
    DocumentEnriched,
    DocumentIndexed,
    EmbeddingsReady,
    Event,
    Inline,
)
from shared.domain.ids import doc_key
from shared.domain.ordering import Record, keep, newest_seq, settled_seq
from shared.observe.progress import Progress
from shared.ports import Delivery, Entry, Newest, Probe, Row
from shared.repair import resubmit

GENERATION, SOURCE, PATH = "gtest", "docs", "a.md"
KEY = doc_key(SOURCE, PATH)
CONTENTS: dict[str, tuple[int, ...]] = {
    "A": (1, 2),
    "B": (2, 3),
    "C": (1,),
    "E": (3, 4),
    "F": (1, 2, 3, 4),
}
"""Content to chunks; besides there is D, the deletion, and X, a content that is refused."""
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def chunk_key(n: int) -> str:
    return b32encode(hashlib.sha256(str(n).encode()).digest()[:16]).decode().rstrip("=").lower()


class Broken(AssertionError):
    """The world is in a state that the protocol promises never to be in."""


@dataclass(frozen=True)
class Op:
    """A call of a port that is about to happen."""

    name: str

    def __await__(self) -> Generator[Op, bool, bool]:
        return (yield self)


@dataclass(eq=False)
class Task:
    """A worker with one delivery. `op`: the call it makes when it is stepped next."""

    stage: str
    message: int
    coroutine: Coroutine[Op, bool, None]
    op: Op | None = None
    thaws: int = 0
    """Turn before which the worker stands still: a paused process."""

    def start(self) -> None:
        self._advance(first=True)

    def step(self, *, answer_lost: bool = False) -> None:
        self._advance(answer_lost=answer_lost)

    def run_until(self, name: str) -> None:
        """Step until the named call would be next."""
        while self.op is not None and self.op.name != name:
            self.step()
        assert self.op is not None, f"the worker ended without {name}"

    def finish(self) -> None:
        while self.op is not None:
            self.step()

    def crash(self) -> None:
        self.op = None
        self.coroutine.close()

    def _advance(self, *, first: bool = False, answer_lost: bool = False) -> None:
        try:
            self.op = self.coroutine.send(None if first else answer_lost)  # type: ignore[arg-type]
        except StopIteration:
            self.op = None


@dataclass
class World:
    """One document, its streams, ledger and store, and the workers on it."""

    enrichers: int = 2
    embedders: int = 1
    indexers: int = 3
    rows_per_part: int = 64
    lag: bool = False
    """Rows become searchable only by `reveal`."""
    cas: bool = True
    ack_first: bool = False
    repair: bool = True
    ids_by_revision: bool = False
    """Message ids of parts name the work, not the publish call (mutation m08)."""
    index_class: type[Index] = Index
    enrich_class: type[Enrich] = Enrich

    sequence: int = 1000
    newest_change: DocumentChanged | None = None
    newest_acked: bool = True
    history: list[tuple[int, str, bool]] = field(default_factory=list)
    record: bytes | None = None
    ledger_at: int = 0
    store: dict[str, Row] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    chunks: dict[int, DocumentEnriched] = field(default_factory=dict)
    vectors: dict[int, EmbeddingsReady] = field(default_factory=dict)
    seen_ids: set[str] = field(default_factory=set)
    next_message: int = 0
    dead: list[Event] = field(default_factory=list)
    announced: set[int] = field(default_factory=set)
    settled_ever: set[int] = field(default_factory=set)
    tasks: list[Task] = field(default_factory=list)
    damaged: bool = False
    trace: list[str] = field(default_factory=list)
    turn: int = 0
    next_submit: int = 0
    cache: dict[str, Any] = field(default_factory=dict)
    encoded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        progress = Progress()
        port = _Ports(self)
        now: Callable[[], datetime] = lambda: EPOCH  # noqa: E731 - a constant clock
        self.enrich = self.enrich_class(GENERATION, port, port, port.prepare, now, progress)
        self.embed = Embed(GENERATION, port, port, port, progress)
        self.index = self.index_class(
            GENERATION, "fake", port, port, port.publish, now, progress, poll_s=0.01
        )
        self.port = port

    # -- what a test can make happen ---------------------------------------------------------------

    def submit(self, content: str) -> None:
        """Accept a change: A, B, C, E, F, D (deleted) or X (refused)."""
        self._log(f"submit {content}")
        change = DocumentChanged(
            document=Document(source=SOURCE, path=PATH, doc_key=KEY, changed_at=EPOCH),
            batch=Batch(id="b", count=1, source=SOURCE, started_at=EPOCH),
            op="deleted" if content == "D" else "upserted",
            content=None if content == "D" else Inline(data=content),
        )
        self._append(change)

    def resubmit(self) -> None:
        """What sweep, retry and dead letters do."""
        self._log("resubmit")
        coroutine = resubmit(_Now(self), SOURCE, KEY, generation=GENERATION)
        try:
            coroutine.send(None)
        except StopIteration:
            return
        raise AssertionError("resubmit waits for nothing here")

    def deliver(self, stage: str, message: int | None = None) -> Task:
        """Give a message to a free worker."""
        self._log(f"deliver {stage} {message}")
        if stage == "enrich":
            assert self.newest_change is not None
            change = self.newest_change
            task = Task(stage, change.document.revision, self._handle(stage, change, self.enrich))
        elif stage == "embed":
            message = message if message is not None else min(self.chunks)
            task = Task(stage, message, self._handle(stage, self.chunks[message], self.embed))
        else:
            message = message if message is not None else min(self.vectors)
            task = Task(stage, message, self._handle(stage, self.vectors[message], self.index))
        self.tasks.append(task)
        task.start()
        self._after()
        return task

    def step(self, task: Task, *, answer_lost: bool = False) -> None:
        self._log(f"{task.stage} {task.message}: {task.op and task.op.name} {answer_lost or ''}")
        task.step(answer_lost=answer_lost)
        self._after()

    def crash(self, task: Task) -> None:
        self._log(f"{task.stage} {task.message}: CRASH before {task.op and task.op.name}")
        task.crash()
        self._after()

    def reveal(self) -> None:
        self.hidden.clear()

    def lose_ledger(self) -> None:
        self._log("LEDGER LOST")
        self.record, self.damaged = None, True
        self.ledger_at += 1_000_000  # buckets made anew start at the clock

    def lose_row(self) -> None:
        self._log("ROW LOST")
        self.damaged = True
        self.store.pop(min(self.store))

    def bury(self, message: int) -> None:
        self._log(f"DEAD LETTER {message}")
        self.dead.append(self.vectors.pop(message))

    def end_duplicate_window(self) -> None:
        self.seen_ids.clear()

    # -- histories ---------------------------------------------------------------------------------

    def actions(self, script: list[str], *, unfair: bool) -> list[Callable[[], object]]:
        """What could happen next, ordinary things first."""
        self.tasks = [t for t in self.tasks if t.op is not None]
        awake = [t for t in self.tasks if not unfair or t.thaws <= self.turn]
        found: list[Callable[[], object]] = [
            lambda t=t: self.step(t)  # type: ignore[misc]
            for t in awake
        ]
        busy = {stage: sum(t.stage == stage for t in self.tasks) for stage in STAGES}
        if not self.newest_acked and busy["enrich"] < self.enrichers:
            found.append(lambda: self.deliver("enrich"))
        if busy["embed"] < self.embedders:
            found += [lambda m=m: self.deliver("embed", m) for m in self.chunks]  # type: ignore[misc]
        if busy["index"] < self.indexers:
            found += [lambda m=m: self.deliver("index", m) for m in self.vectors]  # type: ignore[misc]
        if script and (not unfair or self.turn >= self.next_submit):
            found.append(lambda: self.submit(script.pop(0)))
        if self.hidden:
            found.append(self.reveal)
        if unfair:
            found += [lambda t=t: self.crash(t) for t in self.tasks]  # type: ignore[misc]
            found += [
                lambda t=t: self.step(t, answer_lost=True)  # type: ignore[misc]
                for t in self.tasks
                if t.op and t.op.name in LOSABLE
            ]
        return found

    def play(self, script: Sequence[str], tape: Sequence[int], *, limit: int = 4000) -> None:
        """Run a history to its end: choices from the tape, then everything fairly until quiet."""
        left = list(script)
        self.wander(left, tape)
        self.settle_down(left, limit=limit)

    def wander(self, left: list[str], tape: Sequence[int]) -> None:
        """Follow the tape. It also freezes some workers, and says how soon the next change comes.

        Without that, changes would nearly always be coalesced, and no worker would be late.
        """
        for choice in tape:
            self.turn += 1
            options = self.actions(left, unfair=True)
            if not options:
                continue
            tasks, changes = len(self.tasks), len(self.history)
            options[choice % len(options)]()
            if len(self.tasks) > tasks and choice % 4 == 3:
                self.tasks[-1].thaws = self.turn + choice // 2
            if len(self.history) > changes:
                self.next_submit = self.turn + choice // 4

    def settle_down(self, left: list[str] | None = None, *, limit: int = 4000) -> None:
        """No more faults: workers go on, messages are delivered, until nothing is left."""
        left = left if left is not None else []
        turn = 0
        while options := self.actions(left, unfair=False):
            options[turn % len(options)]()
            turn += 1
            if turn > limit:
                raise Broken("never quiet")
        self.check_end()

    def check_end(self) -> None:
        """P1: the index holds exactly the last content, and the ledger says so."""
        record = self.current()
        if record is None or not self.history:
            raise Broken("no record")
        if record.pending is not None:
            raise Broken("still pending")
        seq, _, _ = self.history[-1]
        if settled_seq(record) != seq:
            raise Broken(f"settled {settled_seq(record)}, newest {seq}")
        assert record.settled is not None
        ids = {ref.id(KEY) for ref in record.settled.rows}
        if set(self.store) != ids:
            raise Broken(f"store has {len(self.store)} rows, the ledger {len(ids)}")
        wanted = self._expected()
        if wanted is not None:
            texts = sorted(row.text for row in self.store.values())
            if texts != sorted(f"text {n}" for n in wanted):
                raise Broken(f"the index holds {texts}")
        if lost := self.settled_ever - self.announced:
            raise Broken(f"settled and never announced: {sorted(lost)}")

    def _expected(self) -> tuple[int, ...] | None:
        """Chunks of the last content; a refusal keeps what was settled before it."""
        _, content, _ = self.history[-1]
        return None if content == "X" else CONTENTS.get(content, ())

    def current(self) -> Record | None:
        return _read(self.record) if self.record is not None else None

    # -- inside ------------------------------------------------------------------------------------

    def _handle(self, stage: str, event: Any, use_case: Any) -> Coroutine[Op, bool, None]:
        async def run() -> None:
            message = event.document.revision if stage == "enrich" else self._id_of(stage, event)
            if self.ack_first:
                await Op("ack")
                self._ack(stage, message)
            try:
                for follows in await use_case(event, Delivery(sequence=message)):
                    await self.port.publish(follows)
            except TransientError:
                return  # nak: it comes again
            if not self.ack_first:
                await Op("ack")
                self._ack(stage, message)

        return run()  # type: ignore[return-value]

    def _id_of(self, stage: str, event: Event) -> int:
        queue: Mapping[int, Event] = self.chunks if stage == "embed" else self.vectors
        return next(i for i, e in queue.items() if e is event)

    def _ack(self, stage: str, message: int) -> None:
        if stage == "enrich":
            change = self.newest_change
            if change is not None and change.document.revision == message:
                self.newest_acked = True
        elif stage == "embed":
            self.chunks.pop(message, None)
        else:
            self.vectors.pop(message, None)

    def _append(self, change: DocumentChanged) -> int:
        self.sequence += 1
        document = change.document.model_copy(update={"revision": self.sequence})
        self.newest_change = change.model_copy(update={"document": document})
        self.newest_acked = False
        content = change.content.data if isinstance(change.content, Inline) else "D"
        self.history.append((self.sequence, content, change.repair is not None))
        return self.sequence

    def enqueue(self, event: Event) -> None:
        if self.ids_by_revision and isinstance(event, DocumentEnriched | EmbeddingsReady):
            name = f"{type(event).__name__}:{event.document.revision}:{[r.id for r in event.rows]}"
            if name in self.seen_ids:
                return
            self.seen_ids.add(name)
        self.next_message += 1
        if isinstance(event, DocumentEnriched):
            self.chunks[self.next_message] = event
        elif isinstance(event, EmbeddingsReady):
            self.vectors[self.next_message] = event
        elif isinstance(event, DocumentIndexed):
            self.announced.add(event.document.revision)

    def _after(self) -> None:
        self.tasks = [task for task in self.tasks if task.op is not None]
        self.check()

    def check(self) -> None:
        """P3, P4 and the bookkeeping, at every moment."""
        record = self.current()
        if record is None or self.damaged:
            return
        if record.settled:
            ids = {ref.id(KEY) for ref in record.settled.rows}
            if gone := ids - (set(self.store) - self.hidden):
                raise Broken(f"{len(gone)} settled rows are not searchable")
        if record.pending:
            sure = {r.id(KEY) for r in record.pending.rows if r not in record.pending.todo}
            if gone := sure - set(self.store):
                raise Broken(f"{len(gone)} rows are marked written and are not there")

    def moved(self, before: Record | None, after: Record) -> None:
        """I1: nothing goes back."""
        if newest_seq(after) < newest_seq(before) or settled_seq(after) < settled_seq(before):
            raise Broken("the ledger went back")
        settled = after.settled
        if settled and settled.seq != settled_seq(before) and settled.outcome == "indexed":
            self.settled_ever.add(settled.seq)

    def _log(self, line: str) -> None:
        self.trace.append(line)


# the record is looked at after every step, and most steps leave it as it is; records are frozen
_read = functools.lru_cache(maxsize=256)(from_bytes)
STAGES = ("enrich", "embed", "index")
LOSABLE = {"publish", "ledger.update"}


class _Ports:
    """Every port of the use cases; each method stops once before its effect."""

    fingerprint = "fake"
    dimensions = 2

    def __init__(self, world: World) -> None:
        self.w = world

    # Ledger
    async def get(self, doc_key: str) -> Entry | None:
        await Op("ledger.get")
        record = self.w.current()
        return Entry(record, self.w.ledger_at) if record else None

    async def update(self, doc_key: str, record: Record, *, expect: int) -> int:
        lost = await Op("ledger.update")
        at = self.w.ledger_at if self.w.record is not None else 0
        if self.w.cas and expect != at:
            raise LedgerConflict("changed")
        if self.w.cas:
            self.w.moved(self.w.current(), record)
        self.w.record = to_bytes(record)
        self.w.ledger_at += 1
        if lost:
            raise BusUnavailable("no answer")
        return self.w.ledger_at

    # ChangeLog
    async def newest(self, source: str, doc_key: str) -> Newest | None:
        await Op("log.newest")
        change = self.w.newest_change
        return Newest(change.document.revision, change) if change else None

    async def append(self, change: DocumentChanged, *, expect: int, message_id: str) -> int:
        await Op("log.append")
        current = self.w.newest_change
        if expect != (current.document.revision if current else 0):
            raise ChangeLogConflict("changed")
        return self.w._append(change)

    # Prepare
    async def prepare(self, event: DocumentChanged) -> Prepared:
        await Op("prepare")
        assert isinstance(event.content, Inline)
        if event.content.data == "X":
            raise DocumentRefused("corrupt", "made so by the test")
        pieces = tuple(KeyedChunk(chunk_key(n), f"text {n}") for n in CONTENTS[event.content.data])
        return Prepared("", {}, pieces)

    # VectorCache, Encoder
    async def get_many(self, keys: Collection[str]) -> Mapping[str, Any]:
        await Op("cache.get")
        return {key: self.w.cache[key] for key in keys if key in self.w.cache}

    async def put_many(self, vectors: Mapping[str, Any]) -> None:
        await Op("cache.put")
        self.w.cache.update(vectors)

    async def encode(self, texts: Sequence[str], *, alone: bool = False) -> Any:
        await Op("encode")
        self.w.encoded += texts
        return np.tile(np.array([1, 0], np.float32), (len(texts), 1))

    # Publish
    async def publish(self, event: Event) -> None:
        lost = await Op("publish")
        self.w.enqueue(event)
        if lost:
            raise BusUnavailable("no answer")

    # VectorStore
    async def upsert(self, rows: Sequence[Row]) -> None:
        await Op("store.upsert")
        for row in rows:
            if row.id not in self.w.store:
                self.w.store[row.id] = row
                if self.w.lag:
                    self.w.hidden.add(row.id)

    async def delete(self, ids: Collection[str]) -> None:
        for row_id in sorted(ids):  # a store may take its time
            await Op("store.delete")
            self._check_kept(row_id)
            self.w.store.pop(row_id, None)
            self.w.hidden.discard(row_id)

    def _check_kept(self, row_id: str) -> None:
        record = self.w.current()
        if record and not self.w.damaged and row_id in {r.id(KEY) for r in keep(record)}:
            raise Broken("clean removes a row of the present record")

    async def ids(self, documents: Mapping[str, int]) -> Mapping[str, frozenset[str]]:
        await Op("store.ids")
        born = documents[KEY]
        return {KEY: frozenset(i for i, row in self.w.store.items() if row.born <= born)}

    async def unsearchable(self, probes: Sequence[Probe]) -> frozenset[str]:
        await Op("store.unsearchable")
        there = set(self.w.store) - self.w.hidden
        return frozenset(p.id for p in probes if p.id not in there)


class _Now:
    """The change log without a stop, for tests that resubmit in one step."""

    def __init__(self, world: World) -> None:
        self.w = world

    async def newest(self, source: str, doc_key: str) -> Newest | None:
        change = self.w.newest_change
        return Newest(change.document.revision, change) if change else None

    async def append(self, change: DocumentChanged, *, expect: int, message_id: str) -> int:
        if not self.w.repair:
            change = change.model_copy(update={"repair": None})
        return self.w._append(change)


def with_parts_of(rows: int, monkeypatch: Any) -> None:
    """Cut revisions into parts of so many rows."""
    monkeypatch.setattr(parts, "MAX_PART_ROWS", rows)
