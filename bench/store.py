"""What the LanceDB store costs on this machine. `python -m bench.store [--rows 3000 50000]`.

Every figure is the median of a few calls, in ms. Rows: 384 dimensions, about 60 words each,
8 rows a document. "worn" is a table with 40 commits since its last compaction.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np

from shared.domain.ids import doc_key, row_id
from shared.ports import Filter, Probe, Row
from shared.stores.coalesce import CoalescingStore
from shared.stores.lance.store import LanceStore

DIMENSIONS = 384
DICE = np.random.default_rng(0)
WORDS = np.array([f"word{n}" for n in range(5000)])
CENTRES = DICE.normal(size=(200, DIMENSIONS))


class Maker:
    """Makes rows nobody has seen yet."""

    def __init__(self) -> None:
        self.made = 0

    def rows(self, count: int) -> list[Row]:
        picks = CENTRES[DICE.integers(0, len(CENTRES), count)]
        vectors = (picks + DICE.normal(size=picks.shape)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        made = []
        for vector in vectors:
            self.made += 1
            key = doc_key("bench", f"{self.made // 8}.md")
            text = " ".join(WORDS[DICE.integers(0, len(WORDS), 60)])
            chunk = f"chunk{self.made}"
            made.append(
                Row(
                    row_id(key, chunk, 1),
                    key,
                    "bench",
                    f"{self.made // 8}.md",
                    1,
                    chunk,
                    "A title",
                    ("One", "Two"),
                    text,
                    {"lang": "en"},
                    vector,
                )
            )
        return made


async def timed(name: str, calls: Sequence[Callable[[], Awaitable[object]]]) -> None:
    took = []
    for call in calls:
        start = time.perf_counter()
        await call()
        took.append(1000 * (time.perf_counter() - start))
    print(f"  {name:<44}{statistics.median(took):8.1f}   (worst {max(took):.1f})", flush=True)


async def writes(store: LanceStore, make: Maker) -> None:
    for size in (1, 8, 64, 512):
        batches = [make.rows(size) for _ in range(10)]
        await timed(f"commit of {size} rows", [lambda b=b: store.upsert(b) for b in batches])


async def reads(store: LanceStore, rows: Sequence[Row], state: str) -> None:
    picks = [int(n) for n in DICE.integers(0, len(rows) - 600, 8)]

    def probes(at: int, documents: int) -> list[Probe]:
        taken = rows[at : at + 8 * documents]
        return [Probe(r.id, r.vector if n % 8 == 0 else None) for n, r in enumerate(taken)]

    for documents in (1, 16, 64):
        asked = [probes(at, documents) for at in picks]
        await timed(
            f"{state}: unsearchable, {documents} documents of 8 rows",
            [lambda p=p: store.unsearchable(p) for p in asked],
        )
    for documents in (1, 64):
        keys = [{r.doc_key: 1 for r in rows[at : at + 8 * documents]} for at in picks]
        await timed(
            f"{state}: ids of {documents} documents", [lambda k=k: store.ids(k) for k in keys]
        )
    every = dict.fromkeys((r.doc_key for r in rows), 1)
    await timed(f"{state}: ids of all documents", [lambda: store.ids(every)] * 3)
    await timed(
        f"{state}: search, 100 hits",
        [lambda at=at: store.search(rows[at].vector, limit=100, where=Filter()) for at in picks],
    )
    await timed(
        f"{state}: keyword search, 100 hits",
        [
            lambda at=at: store.search_text(rows[at].text[:20], limit=100, where=Filter())
            for at in picks
        ],
    )


async def edits(store: LanceStore, make: Maker) -> None:
    """What one edit asks of the store: write, confirm, clean; alone, and 64 at a time."""
    shared = CoalescingStore(store)

    async def edit(rows: Sequence[Row]) -> None:
        await shared.upsert(rows)
        assert not await shared.unsearchable([Probe(rows[0].id, rows[0].vector)])
        await shared.ids({rows[0].doc_key: 1})
        await shared.delete([rows[0].id])

    await timed("an edit (write, confirm, ids, delete)", [lambda: edit(make.rows(1))] * 10)
    batch = [make.rows(8) for _ in range(64)]
    start = time.perf_counter()
    await asyncio.gather(*(edit(rows) for rows in batch))
    took = 1000 * (time.perf_counter() - start)
    print(f"  {'64 documents of 8 rows at once, each':<44}{took / 64:8.1f}", flush=True)


async def recall(store: LanceStore, rows: Sequence[Row]) -> None:
    matrix = np.stack([r.vector for r in rows])
    found = 0
    for _ in range(30):
        query = (CENTRES[DICE.integers(0, len(CENTRES))] + DICE.normal(size=DIMENSIONS)).astype(
            np.float32
        )
        exact = {rows[int(at)].id for at in np.argsort(-(matrix @ query))[:10]}
        found += len(exact & {h.id for h in await store.search(query, limit=10, where=Filter())})
    print(f"  {'recall@10 against an exact search':<44}{found / 300:8.3f}", flush=True)


async def measure(count: int, folder: Path) -> None:
    make = Maker()
    start = time.perf_counter()
    store = await LanceStore.open(folder, table=f"rows_{count}", dimensions=DIMENSIONS)
    print(f"{count} rows\n  {'open':<44}{1000 * (time.perf_counter() - start):8.1f}")
    rows = make.rows(count)
    await store.upsert(rows)
    start = time.perf_counter()
    await store.compact()
    await store._index()
    print(f"  {'compact and index':<44}{1000 * (time.perf_counter() - start):8.1f}")
    await recall(store, rows)
    await reads(store, rows, "compact")
    await writes(store, make)
    await reads(store, rows, "worn")
    start = time.perf_counter()
    await store.compact()
    print(f"  {'compact 40 commits':<44}{1000 * (time.perf_counter() - start):8.1f}")
    await edits(store, make)
    await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[3000, 50_000])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="instep-bench-") as folder:
        for count in arguments.rows:
            asyncio.run(measure(count, Path(folder)))


if __name__ == "__main__":
    main()
