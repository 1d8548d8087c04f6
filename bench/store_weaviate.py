"""What a Weaviate server takes, and how long until it finds it. `python -m bench.store_weaviate`.

Throughput: rows a second through the store, by rows of a call, two calls at a time; a call returns
when its rows are stored and queued. "All searchable" is when the vector index knows the last of
them. Confirm: from the call of an upsert until a plain search by the row's own vector finds it,
looked for as the indexer looks; alone, and beside other edits. Rows: 384 dimensions, 60 words.

Without --url it starts a server of its own, as shipped.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from bench.on_weaviate import server
from bench.store import Maker
from services.indexer.index import next_look_s
from shared.ports import Probe, Row
from shared.stores.weaviate.store import Address, WeaviateStore, collection_name

DIMENSIONS = 384
BATCHES = (1, 64, 256)
LONGEST_S = 30.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url")
    parser.add_argument("--grpc")
    parser.add_argument("--key-file", type=Path)
    parser.add_argument("--rows", type=int, default=4096, help="for the larger batches")
    parser.add_argument("--edits", type=int, default=100)
    parser.add_argument("--beside", type=int, default=50, help="other edits a second")
    args = parser.parse_args()
    key = args.key_file.read_text().strip() if args.key_file else None
    with address_of(args.url, args.grpc) as address:
        asyncio.run(measure(address, key, args))


@contextmanager
def address_of(url: str | None, grpc: str | None) -> Iterator[Address]:
    if url:
        yield Address.of(url, grpc)
        return
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as reached:
        yield Address.of(reached.url, reached.grpc)


async def measure(address: Address, key: str | None, args: argparse.Namespace) -> None:
    maker = Maker()
    print(
        f"{'rows a call':>12} {'calls':>6} {'rows/s':>8} {'ms a call p50':>14} {'p95':>7}", end=""
    )
    print(f" {'all searchable after s':>23}")
    for size in BATCHES:
        async with a_store(address, key) as store:
            await throughput(store, maker, size, max(1, min(300, args.rows // size)))
    print(f"\n{'edit to searchable':34} {'p50 ms':>8} {'p95 ms':>8} {'looks':>6}")
    async with a_store(address, key) as store:
        await store.upsert(maker.rows(2000))
        await confirmed(store, maker.rows(1)[0])
        await report("alone", store, maker, args.edits)
        busy = asyncio.create_task(others(store, maker, args.beside))
        await report(f"beside {args.beside} edits a second", store, maker, args.edits)
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)


@asynccontextmanager
async def a_store(address: Address, key: str | None) -> AsyncIterator[WeaviateStore]:
    name = collection_name("Bench", uuid.uuid4().hex[:8])
    store = await WeaviateStore.open(address, name=name, dimensions=DIMENSIONS, api_key=key)
    try:
        yield store
    finally:
        await store._client.collections.delete(name)
        await store.close()


async def throughput(store: WeaviateStore, maker: Maker, size: int, calls: int) -> None:
    batches = [maker.rows(size) for _ in range(calls)]
    took: list[float] = []
    left = iter(batches)

    async def work() -> None:
        for rows in left:
            started = time.perf_counter()
            await store.upsert(rows)
            took.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(work(), work())
    written = time.perf_counter() - started
    probes = [Probe(row.id) for rows in batches for row in rows]
    while await store.unsearchable(probes):
        await asyncio.sleep(0.02)
    indexed = time.perf_counter() - started
    took.sort()
    p50, p95 = (1000 * took[int(len(took) * q)] for q in (0.5, 0.95))
    print(f"{size:12} {calls:6} {size * calls / written:8,.0f} {p50:14.1f} {p95:7.1f}", end="")
    print(f" {indexed:23.2f}", flush=True)


async def report(name: str, store: WeaviateStore, maker: Maker, edits: int) -> None:
    took, looks = [], []
    for _ in range(edits):
        started = time.perf_counter()
        looks.append(await confirmed(store, maker.rows(1)[0]))
        took.append(1000 * (time.perf_counter() - started))
        await asyncio.sleep(0.05)
    took.sort()
    p50, p95 = (took[int(len(took) * q)] for q in (0.5, 0.95))
    print(f"{name:34} {p50:8.1f} {p95:8.1f} {statistics.mean(looks):6.1f}", flush=True)


async def confirmed(store: WeaviateStore, row: Row) -> int:
    """Write a row and look for it until it is found; how many looks that took."""
    await store.upsert([row])
    looks, started = 1, time.perf_counter()
    while await store.unsearchable([Probe(row.id, row.vector)]):
        await asyncio.sleep(next_look_s(time.perf_counter() - started, LONGEST_S))
        looks += 1
    return looks


async def others(store: WeaviateStore, maker: Maker, rate: int) -> None:
    """Edits of one row each, `rate` a second."""
    async with asyncio.TaskGroup() as tasks:
        while True:
            tasks.create_task(store.upsert(maker.rows(1)))
            await asyncio.sleep(1 / rate)


if __name__ == "__main__":
    main()
