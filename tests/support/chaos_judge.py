"""Whether the index is in step with the folder, and everybody was told the truth. Mostly pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from chaos_author import POISON, Author
from chaos_plan import SOURCE, Tally

from services.enricher.chunking.chunk import chunk
from shared.domain.ids import doc_key
from shared.domain.ordering import Record, newest_seq
from shared.encoders.fake import FakeTokenizer
from shared.formats.extract import extract
from shared.settings import Chunking

Shown = tuple[tuple[str, ...], str]
"""Heading path and text of a row."""


@dataclass(frozen=True)
class StoredRow:
    id: str
    doc_key: str
    path: str
    heading: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Told:
    """A `documents.indexed` event."""

    doc_key: str
    path: str
    revision: int
    vectors: int


@dataclass
class Scene:
    """Everything that a run left behind."""

    author: Author
    rows: Sequence[StoredRow]
    records: Mapping[str, Record]
    newest: Mapping[str, int]
    """Sequence of every document's newest change."""
    told: Sequence[Told] = ()
    dead: Sequence[tuple[str, str]] = ()
    """Path and code of every dead letter."""
    moments: Mapping[int, str] = field(default_factory=dict)
    """Which document the changes were of, by sequence, as far as anybody saw them."""


def cut(path: str, text: str) -> Counter[Shown]:
    """The rows of a document, as the product's own pure functions cut it."""
    extracted = extract(text.encode(), path=path, media_type=None, title=None)
    chunks = chunk(extracted, Chunking(), FakeTokenizer())
    return Counter((tuple(c.heading), c.text) for c in chunks)


def judge(scene: Scene, tally: Tally) -> None:
    """Put everything that is wrong into the tally."""
    _index(scene, tally)
    _orphans(scene, tally)
    _receipts(scene, tally)
    _dead_letters(scene, tally)


def _wrong(tally: Tally, kind: str, line: str) -> None:
    tally.counts[kind] += 1
    tally.wrong.append(f"{kind}: {line}")


def wrong_documents(scene: Scene) -> dict[str, str]:
    """Path to what is wrong with the rows that the ledger lists, for every document."""
    held: defaultdict[str, Counter[Shown]] = defaultdict(Counter)
    paths: dict[str, str] = {}
    for row in scene.rows:
        paths[row.doc_key] = row.path
        if row.id in _listed(scene.records.get(row.doc_key), row.doc_key):
            held[row.doc_key][row.heading, row.text] += 1
    wanted = {doc_key(SOURCE, p): (p, d) for p, d in scene.author.healthy.items()}
    found: dict[str, str] = {}
    for key, (path, doc) in wanted.items():
        if held[key] != cut(path, doc.text()):
            found[path] = "lost" if not held[key] else "stale"
    for key, rows in held.items():
        if rows and key not in wanted:
            found[paths[key]] = "left over"
    return found


def unheard(
    wrong: Mapping[str, str], touched: Mapping[str, float], watching_since: float
) -> dict[str, str]:
    """Of what is wrong, that which happened before the eyes of the process that watches the folder.

    What happened while it was away, or starting, it learns from its first listing. What happened
    later it was told by the operating system: if it knows nothing of it, an event was lost, and
    would stay lost until the next listing.

    Args:
        touched: when something last happened to each path.
        watching_since: when that process began to watch, on the same clock.
    """
    return {path: kind for path, kind in wrong.items() if touched.get(path, 0.0) >= watching_since}


def _listed(record: Record | None, key: str) -> frozenset[str]:
    settled = record.settled if record else None
    return frozenset(ref.id(key) for ref in settled.rows) if settled else frozenset()


def _index(scene: Scene, tally: Tally) -> None:
    for path, kind in wrong_documents(scene).items():
        key = doc_key(SOURCE, path)
        tally.counts["wrong documents"] += 1
        _wrong(tally, kind, f"{path} {_told_of(scene, key)}")


def _told_of(scene: Scene, key: str) -> str:
    record = scene.records.get(key)
    if record is None:
        return f"no record, newest change {scene.newest.get(key)}"
    settled, pending = record.settled, record.pending
    return (
        f"settled {settled and (settled.seq, settled.outcome, len(settled.rows))}, "
        f"pending {pending and (pending.seq, pending.outcome, len(pending.todo))}, "
        f"failed {record.failed}, newest change {scene.newest.get(key)}"
    )


def orphans(scene: Scene) -> list[StoredRow]:
    """Rows that the ledger does not list; those of a failed revision are accounted for."""
    return [
        row
        for row in scene.rows
        if row.id not in _listed(scene.records.get(row.doc_key), row.doc_key)
        and row.id not in _pending(scene.records.get(row.doc_key), row.doc_key)
    ]


def _pending(record: Record | None, key: str) -> frozenset[str]:
    pending = record.pending if record else None
    return frozenset(ref.id(key) for ref in pending.rows) if pending else frozenset()


def _orphans(scene: Scene, tally: Tally) -> None:
    twice = Counter(row.id for row in scene.rows)
    for row in orphans(scene):
        _wrong(tally, "orphan rows", f"{row.path} {_told_of(scene, row.doc_key)}")
    for row_id, n in twice.items():
        if n > 1:
            _wrong(tally, "rows held more than once", f"{row_id}: {n} times")


def _receipts(scene: Scene, tally: Tally) -> None:
    """Who was told "indexed" was told the truth, and whoever is indexed was told."""
    tally.counts["receipts"] = len(scene.told)
    by_key: defaultdict[str, dict[int, Told]] = defaultdict(dict)
    for told in scene.told:
        by_key[told.doc_key][told.revision] = told
        known = scene.moments.get(told.revision)
        if known not in (None, told.doc_key) or told.path.startswith(f"{POISON}/"):
            _wrong(tally, "false receipts", f"{told} names what never was")
        if told.revision > newest_seq(scene.records.get(told.doc_key)):
            _wrong(tally, "false receipts", f"{told} is newer than the ledger knows")
    for key, record in scene.records.items():
        if (settled := record.settled) is None or settled.outcome != "indexed":
            continue
        last = by_key[key].get(settled.seq)
        if last is None:
            _wrong(tally, "missing receipts", f"{record.path} at {settled.seq}")
        elif last.vectors != len(settled.rows):
            _wrong(tally, "false receipts", f"{last} with {len(settled.rows)} rows")


def _dead_letters(scene: Scene, tally: Tally) -> None:
    tally.counts["dead letters"] = len(scene.dead)
    for path, code in scene.dead:
        if path not in scene.author.poisoned:
            _wrong(tally, "unexpected dead letters", f"{path}: {code}")
    for path in _not_failed(scene, scene.author.poisoned):
        _wrong(tally, "missing dead letters", f"{path} is poison and did not fail")


def _not_failed(scene: Scene, paths: Iterable[str]) -> list[str]:
    buried = {path for path, _ in scene.dead}
    still = {path for path in paths if path in scene.author.docs}
    records = scene.records
    return [
        path
        for path in sorted(still)
        if path not in buried
        or not (record := records.get(doc_key(SOURCE, path)))
        or record.failed is None
    ]


def open_documents(newest: Mapping[str, int], records: Mapping[str, Record]) -> list[str]:
    """Keys of the documents whose newest change has neither settled nor failed."""
    return [key for key, seq in newest.items() if not _closed(records.get(key), seq)]


def _closed(record: Record | None, seq: int) -> bool:
    if record is None:
        return False
    if record.failed is not None and record.failed.seq >= seq:
        return True
    return record.settled is not None and record.settled.seq >= seq and record.pending is None
