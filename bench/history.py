"""Do keyword scores depend on how the rows came to be there? Edits against a first build.

python bench/history.py [--rows 5000 --edits 10000 --at-once 10] [--store sqlite]

Texts of words by Zipf's law, 20 to 200 each. An edit takes one row out and puts another in, and
the index is maintained after each commit as it is beside a running indexer. Prints the worst
difference of a score and how many questions have another order of their first ten hits: right
after the edits, and once the index had a moment of rest.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from pathlib import Path

import numpy as np

from shared.ports import Filter, Row, VectorStore
from shared.stores.lance import table as lance_table
from shared.stores.lance.store import LanceStore
from shared.stores.sqlite.store import SqliteStore

VOCABULARY = [f"term{n}x" for n in range(20_000)]
WEIGHTS = [1 / (n + 1) for n in range(len(VOCABULARY))]
QUESTIONS = 100
DIMENSIONS = 8

Answers = list[list[tuple[str, float]]]


def made(n: int, chance: random.Random) -> Row:
    text = " ".join(chance.choices(VOCABULARY, WEIGHTS, k=chance.randint(20, 200)))
    vector = np.random.default_rng(n).normal(size=DIMENSIONS).astype(np.float32)
    return Row(f"row-{n:08}", f"doc-{n}", "bench", f"{n}.md", 1, "c", "", (), text, {}, vector)


async def answers(store: VectorStore, questions: list[str]) -> Answers:
    found = [await store.search_text(q, limit=10, where=Filter()) for q in questions]
    return [[(hit.id, hit.score) for hit in hits] for hits in found]


def tell(name: str, after: Answers, fresh: Answers) -> None:
    differ, moved = 0.0, 0
    for one, other in zip(after, fresh, strict=True):
        known = dict(other)
        differ = max([differ, *(abs(s - known[k]) / known[k] for k, s in one if k in known)])
        moved += any(
            k != w and abs(s - t) > 1e-5 * t for (k, s), (w, t) in zip(one, other, strict=False)
        )
    print(f"{name:28} scores differ by {differ:.2%} at most, order in {moved} of {len(fresh)}")


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--edits", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=10, help="edits of one commit")
    parser.add_argument("--store", choices=("sqlite", "lancedb"), default="sqlite")
    args = parser.parse_args()
    chance = random.Random(5)
    questions = [
        " ".join(chance.choices(VOCABULARY[50:], WEIGHTS[50:], k=3)) for _ in range(QUESTIONS)
    ]
    with tempfile.TemporaryDirectory(prefix="instep-bench-") as folder:
        edited = await opened(args.store, Path(folder), "edited")
        rows = {n: made(n, chance) for n in range(args.rows)}
        await edited.upsert(list(rows.values()))
        await compacted(edited)
        began = time.process_time()
        for first in range(args.rows, args.rows + args.edits, args.at_once):
            gone = chance.sample(sorted(rows), args.at_once)
            await edited.delete([rows.pop(n).id for n in gone])
            fresh = {n: made(n, chance) for n in range(first, first + args.at_once)}
            await edited.upsert(list(fresh.values()))
            rows |= fresh
            await edited.maintain()
        print(f"{args.edits} edits took {time.process_time() - began:.0f} s of the processor")
        new = await opened(args.store, Path(folder), "new")
        await new.upsert(list(rows.values()))
        await compacted(new)
        wanted = await answers(new, questions)
        tell("right after the edits", await answers(edited, questions), wanted)
        if args.store == "lancedb":
            await asyncio.sleep(2 * lance_table.IDLE_S)
            await edited.maintain()
            tell("after a moment of rest", await answers(edited, questions), wanted)
        await edited.close()
        await new.close()


async def opened(kind: str, folder: Path, name: str) -> VectorStore:
    of = SqliteStore if kind == "sqlite" else LanceStore
    return await of.open(folder, table=name, dimensions=DIMENSIONS)


async def compacted(store: VectorStore) -> None:
    if isinstance(store, LanceStore):
        await store.compact()


if __name__ == "__main__":
    asyncio.run(main())
