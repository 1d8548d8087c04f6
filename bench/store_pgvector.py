"""Postgres beside LanceDB, in one run. `python -m bench.store_pgvector [--rows 100000]`.

Rows as in `bench.store`: 384 dimensions, about 60 words each, unit vectors. Each store is filled
alone, in calls of 512 rows, and given its vector index; then every kind of question is asked of
both in turn. Ratios are those of Postgres to LanceDB. The server is the one of the tests.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import psycopg

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

import postgres_server

from bench.store import DIMENSIONS, Maker
from shared.ports import Filter, Row, VectorStore
from shared.stores.lance.store import LanceStore
from shared.stores.pgvector import table as pg_table
from shared.stores.pgvector.store import PgvectorStore

PER_CALL = 512
ASKED = 60
LIMIT = 100


async def fill(store: VectorStore, rows: Sequence[Row]) -> float:
    """Seconds."""
    start = time.perf_counter()
    for at in range(0, len(rows), PER_CALL):
        await store.upsert(rows[at : at + PER_CALL])
    return time.perf_counter() - start


async def index_lance(store: LanceStore) -> float:
    start = time.perf_counter()
    await store.compact()
    await store._index()
    return time.perf_counter() - start


async def index_postgres(store: PgvectorStore) -> float:
    start = time.perf_counter()
    await store._connections.run(
        lambda connection: pg_table.make_index(connection, store._place), within_s=3600
    )
    return time.perf_counter() - start


def questions(rows: Sequence[Row]) -> Iterator[tuple[str, Callable[[VectorStore, int], Awaitable]]]:
    dice = np.random.default_rng(1)
    picks = [rows[int(n)] for n in dice.integers(0, len(rows), ASKED)]
    near = [
        (row.vector + 0.5 * dice.normal(size=DIMENSIONS) / DIMENSIONS**0.5).astype(np.float32)
        for row in picks
    ]
    every = Filter()
    tenth = Filter(sources=("bench",), path_prefix="1")
    few = Filter(path_prefix=f"{len(rows) // 9}"[:3])
    for name, where in (("", every), (", a path prefix: a tenth", tenth), (", one in 900", few)):
        yield f"by vector{name}", lambda s, n, w=where: s.search(near[n], limit=LIMIT, where=w)
    for name, where in (("", every), (", a path prefix: a tenth", tenth)):
        yield (
            f"by three words{name}",
            lambda s, n, w=where: s.search_text(
                " ".join(picks[n].text.split()[:3]), limit=LIMIT, where=w
            ),
        )
    yield (
        "by three words and one that all rows have",
        lambda s, n: s.search_text(
            "title " + " ".join(picks[n].text.split()[:3]), limit=LIMIT, where=every
        ),
    )


async def ask(stores: Sequence[VectorStore], question: Callable) -> list[list[float]]:
    """Milliseconds of every call, of each store; they are asked in turn."""
    took: list[list[float]] = [[] for _ in stores]
    for n in range(ASKED):
        for store, times in zip(stores, took, strict=True):
            start = time.perf_counter()
            await question(store, n)
            times.append(1000 * (time.perf_counter() - start))
    return [sorted(times) for times in took]


async def recall(stores: Sequence[VectorStore], rows: Sequence[Row]) -> list[float]:
    matrix = np.stack([row.vector for row in rows])
    found = [0] * len(stores)
    for n in range(30):
        near = rows[n * 37].vector + 0.5 * np.random.default_rng(n).normal(size=DIMENSIONS) / 20
        near = near.astype(np.float32)
        exact = {rows[int(at)].id for at in np.argsort(-(matrix @ near))[:10]}
        for at, store in enumerate(stores):
            hits = await store.search(near, limit=10, where=Filter())
            found[at] += len(exact & {hit.id for hit in hits})
    return [count / 300 for count in found]


def line(name: str, lance: str, postgres: str, ratio: float) -> None:
    print(f"  {name:<46}{lance:>18}{postgres:>18}{ratio:>8.2f}", flush=True)


async def measure(count: int, folder: Path, url: str) -> None:
    rows = Maker().rows(count)
    lance = await LanceStore.open(folder, table="rows", dimensions=DIMENSIONS)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("ALTER ROLE postgres SET maintenance_work_mem = '512MB'")
    postgres = await PgvectorStore.open(url, table="bench_rows", dimensions=DIMENSIONS)
    print(f"{count:,} rows{'':36}{'LanceDB':>18}{'Postgres':>18}   ratio")
    one, other = await fill(lance, rows), await fill(postgres, rows)
    line("filled, rows a second", f"{count / one:,.0f}", f"{count / other:,.0f}", one / other)
    one, other = await index_lance(lance), await index_postgres(postgres)
    line("compact and index, s", f"{one:.1f}", f"{other:.1f}", other / one)
    stores = (lance, postgres)
    one, other = await recall(stores, rows)
    line("recall@10", f"{one:.3f}", f"{other:.3f}", other / one)
    for name, question in questions(rows):
        a, b = await ask(stores, question)
        mid, high = statistics.median, int(0.95 * ASKED)
        texts = (f"{mid(times):.1f} {times[high]:.1f}" for times in (a, b))
        line(f"{name}, p50 and p95 ms", *texts, mid(b) / mid(a))
    fresh = Maker()
    fresh.made = count
    more = fresh.rows(4096)
    one, other = await fill(lance, more), await fill(postgres, more)
    rates = (f"{len(more) / took:,.0f}" for took in (one, other))
    line("more rows beside the index, a second", *rates, one / other)
    await lance.close()
    await postgres.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="instep-bench-") as folder,
        postgres_server.running(Path(folder)) as server,
    ):
        asyncio.run(measure(arguments.rows, Path(folder) / "lance", server.url))


if __name__ == "__main__":
    main()
