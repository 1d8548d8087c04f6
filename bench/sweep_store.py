"""What a sweep asks of the LanceDB store. `python -m bench.sweep_store [--rows 100000]`.

Rows of 384 dimensions with about 1 KB of text, 8 rows a document, as a store holds them that was
in use: compacted, with 20 commits since. Seconds, the growth of resident memory above what the
process held just before, and the longest time for which the event loop answered nothing.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench.store import DIMENSIONS, Maker
from shared.ports import Filter, Row
from shared.stores.lance.store import LanceStore

MB: Final = 1024 * 1024
BATCH: Final = 4000
COMMITS: Final = 20


def resident_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


class Watch:
    """Peak of resident memory and the longest gap of the event loop while something runs."""

    def __init__(self) -> None:
        self.start_mb = self.peak_mb = resident_mb()
        self.gap_ms = 0.0

    async def look(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.002)
            self.peak_mb = max(self.peak_mb, resident_mb())
            now = time.perf_counter()
            self.gap_ms, last = max(self.gap_ms, 1000 * (now - last) - 2), now


async def watched(name: str, call: Callable[[], Awaitable[object]]) -> None:
    watch = Watch()
    looking = asyncio.create_task(watch.look())
    start = time.perf_counter()
    await call()
    took = time.perf_counter() - start
    looking.cancel()
    with suppress(asyncio.CancelledError):
        await looking
    growth = watch.peak_mb - watch.start_mb
    print(f"  {name:<28}{took:7.2f} s {growth:8.1f} MB {watch.gap_ms:8.1f} ms", flush=True)


def long(rows: list[Row]) -> list[Row]:
    """The rows with about 1 KB of text each."""
    return [replace(row, text=f"{row.text} {row.text}") for row in rows]


async def fill(folder: Path, count: int) -> None:
    store = await LanceStore.open(folder, table="rows", dimensions=DIMENSIONS)
    make = Maker()
    for start in range(0, count, BATCH):
        await store.upsert(long(make.rows(min(BATCH, count - start))))
    await store.compact()
    for _ in range(COMMITS):
        await store.upsert(long(make.rows(8)))
    await store.close()


async def measure(folder: Path) -> None:
    store = await LanceStore.open(folder, table="rows", dimensions=DIMENSIONS)
    (row,) = long(Maker().rows(1))
    await store.search(row.vector, limit=10, where=Filter())
    await store.search_text("word1", limit=10, where=Filter())
    print(f"{await store.count()} rows            time   above start  loop gap")
    for attempt in ("first", "second"):
        await watched(f"digests, {attempt} time", store.digests)
    buckets = sorted(await store.digests())
    for asked in (1, 32, len(buckets)):
        await watched(f"holdings of {asked} buckets", lambda n=asked: store.holdings(buckets[:n]))
    await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--of", type=Path, help="measure this store instead of making one")
    arguments = parser.parse_args()
    if arguments.of:
        asyncio.run(measure(arguments.of))
        return
    with tempfile.TemporaryDirectory(prefix="instep-bench-") as folder:
        asyncio.run(fill(Path(folder), arguments.rows))
        # another process, so that the memory of filling the store is not counted as its start
        subprocess.run([sys.executable, "-m", "bench.sweep_store", "--of", folder], check=True)


if __name__ == "__main__":
    main()
