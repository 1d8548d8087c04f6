"""SQLite beside LanceDB, in one run. `python -m bench.store_sqlite [--rows 100000]`.

Rows as in `bench.store`: 384 dimensions, about 60 words each, unit vectors. Each store is filled
alone, in calls of 512 rows, and LanceDB is given its indexes; then every kind of question is asked
of both in turn, and both get the same edits. Times are of the processor, all threads together;
ratios are those of SQLite to LanceDB.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from bench.store import DIMENSIONS, Maker
from bench.store_pgvector import ASKED, PER_CALL, questions, recall
from shared.ports import Probe, Row, VectorStore
from shared.stores.lance.store import LanceStore
from shared.stores.sqlite.store import SqliteStore

EDITS = 40


async def cost(work: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds of the processor, in all threads of this process."""
    start = time.process_time()
    await work()
    return 1000 * (time.process_time() - start)


async def fill(store: VectorStore, rows: Sequence[Row]) -> None:
    for at in range(0, len(rows), PER_CALL):
        await store.upsert(rows[at : at + PER_CALL])


async def index(store: LanceStore) -> None:
    await store.compact()
    await store._index()


async def edit(store: VectorStore, row: Row) -> None:
    """What one edit of a document asks of the store: write, confirm, list, delete, tidy."""
    await store.upsert([row])
    assert not await store.unsearchable([Probe(row.id, row.vector)])
    await store.ids({row.doc_key: 1})
    await store.delete([row.id])
    await store.maintain()


async def in_turn(
    stores: Sequence[VectorStore], call: Callable[[VectorStore, int], Awaitable[object]], times: int
) -> list[float]:
    """The median cost of the call for each store, after one that is not counted."""
    took: list[list[float]] = [[] for _ in stores]
    for n in range(times):
        for store, costs in zip(stores, took, strict=True):
            costs.append(await cost(lambda n=n, store=store: call(store, n)))
    return [statistics.median(costs[1:]) for costs in took]


def line(name: str, lance: float, sqlite: float) -> None:
    print(f"  {name:<46}{lance:>12.2f}{sqlite:>12.2f}{sqlite / lance:>8.2f}", flush=True)


def size(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


async def measure(count: int, folder: Path) -> None:
    rows = Maker().rows(count)
    lance = await LanceStore.open(folder / "lance", table="rows", dimensions=DIMENSIONS)
    sqlite = await SqliteStore.open(folder / "sqlite", table="rows", dimensions=DIMENSIONS)
    stores = (lance, sqlite)
    print(f"{count:,} rows{'':36}{'LanceDB':>12}{'SQLite':>12}   ratio")
    filled = [await cost(lambda store=store: fill(store, rows)) for store in stores]
    line("filled, ms a row", *(took / count for took in filled))
    indexed = await cost(lambda: index(lance))
    line("filled and indexed, ms a row", (filled[0] + indexed) / count, filled[1] / count)
    line("size, MB", size(folder / "lance"), size(folder / "sqlite"))
    line("recall@10", *await recall(stores, rows))
    for name, question in questions(rows):
        line(f"{name}, ms", *await in_turn(stores, question, ASKED))
    fresh = Maker()
    fresh.made = count
    more = fresh.rows(EDITS)
    line("an edit, ms", *await in_turn(stores, lambda store, n: edit(store, more[n]), EDITS))
    for store in stores:
        await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="instep-bench-") as folder:
        asyncio.run(measure(arguments.rows, Path(folder)))


if __name__ == "__main__":
    main()
