"""Many clients upload small documents and search meanwhile: is anything lost, what grows, how long?

python bench/load.py [--clients 200] [--count 10000] [--model fake-384]

Each client sends one document a request, as fast as it is answered, and after every fourth it
asks for one of its own that it sent before. A refusal with a time (503) is tried again after that
time. Then every receipt
is followed to its end, every document is listed, and a word that only one document has is asked
for. Exit status 1 when a document was lost, refused, or not found.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from harness import Instep, arguments, children, own_mb, spread, workplace

from instep.client import AsyncClient, ClientError, Refused

SOURCE = "load"
FOLLOWED_AT_ONCE = 50
ASKED = 200
SAMPLE_S = 1.0


@dataclass
class Tally:
    """What the clients saw. Times in milliseconds."""

    times: dict[str, list[float]] = field(default_factory=lambda: {"upload": [], "search": []})
    receipts: dict[str, str] = field(default_factory=dict)
    """By path."""
    told_to_wait: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    memory: dict[str, list[float]] = field(default_factory=dict)

    async def timed(self, kind: str, asked: Any) -> Any:
        """The answer, asked until it is none that says when to come again."""
        while True:
            started = time.perf_counter()
            try:
                found = await asked()
            except Refused as refused:
                if refused.status != 503 or refused.retry_after_s is None:
                    raise
                self.told_to_wait += 1
                await asyncio.sleep(refused.retry_after_s)
                continue
            self.times[kind].append(1000 * (time.perf_counter() - started))
            return found


def word(n: int) -> str:
    """A word that only document `n` has."""
    return f"zq{n}x{random.Random(n).randrange(16**6):06x}"


def text(n: int) -> str:
    return f"# Note {n}\n\nThe note {n} is about the lantern {word(n)} and little else.\n"


async def upload_and_ask(client: AsyncClient, mine: range, tally: Tally) -> None:
    """What one client does."""
    for turn, n in enumerate(mine):
        path = f"{n % 100}/{n}.md"
        try:
            put = partial(client.put_document, SOURCE, path, text(n))
            done = await tally.timed("upload", put)
            tally.receipts[path] = done.receipt
            if turn % 4 == 3:
                known = word(mine[turn // 2])
                asked = partial(client.search, known, mode="keyword", limit=1)
                await tally.timed("search", asked)
        except ClientError as error:  # the bench goes on, counts it, and fails at the end
            tally.faults[f"{type(error).__name__} {getattr(error, 'code', '')}".strip()] += 1


def name_of(pid: int) -> str:
    return f"{Path(f'/proc/{pid}/comm').read_text().strip()} {pid}"


async def sampled(pid: int, tally: Tally) -> None:
    while True:
        for each in (pid, *children(pid)):
            tally.memory.setdefault(name_of(each), []).append(own_mb(each))
        await asyncio.sleep(SAMPLE_S)


async def ends(client: AsyncClient, receipts: list[str]) -> Counter[str]:
    """How many receipts end in which state."""
    places = asyncio.Semaphore(FOLLOWED_AT_ONCE)

    async def followed(receipt: str) -> str:
        async with places:
            while True:
                try:
                    found = await client.receipt(receipt, wait=20)
                except Refused as refused:
                    await asyncio.sleep(refused.retry_after_s or 1.0)
                    continue
                if found.final:
                    return str(found.state)

    return Counter(await asyncio.gather(*map(followed, receipts)))


async def listed(client: AsyncClient) -> set[str]:
    """Paths of the documents that the index serves."""
    found: set[str] = set()
    fields: dict[str, Any] = {"source": SOURCE, "state": "searchable", "limit": 500}
    while True:
        page = await client.documents(**fields)
        found |= {one.path for one in page.documents}
        if page.next_cursor is None:
            return found
        fields["cursor"] = page.next_cursor


async def not_found(client: AsyncClient, count: int) -> list[int]:
    """Of some documents those that their own word does not find."""
    chosen = random.Random(7).sample(range(count), min(ASKED, count))
    hits = [(await client.search(word(n), mode="keyword", limit=1)).hits for n in chosen]
    return [
        n
        for n, found in zip(chosen, hits, strict=True)
        if not found or found[0].document.path != f"{n % 100}/{n}.md"
    ]


async def load(url: str, pid: int, args: Any) -> Tally:
    tally = Tally()
    each = -(-args.count // args.clients)
    shares = [range(s, min(s + each, args.count)) for s in range(0, args.count, each)]
    watching = asyncio.create_task(sampled(pid, tally))
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(AsyncClient(url, timeout_s=120)) for _ in shares]
        started = time.monotonic()
        await asyncio.gather(*map(upload_and_ask, clients, shares, itertools.repeat(tally)))
        sent_s = time.monotonic() - started
        states = await ends(clients[0], list(tally.receipts.values()))
        ended_s = time.monotonic() - started
        missing = {f"{n % 100}/{n}.md" for n in range(args.count)} - await listed(clients[0])
        unfound = await not_found(clients[0], args.count)
    watching.cancel()
    print(f"{len(clients)} clients, {args.count} documents: sent in {sent_s:.1f} s, ", end="")
    print(f"all at their end after {ended_s:.1f} s ({args.count / ended_s:.0f} a second)")
    for kind, times in tally.times.items():
        ordered = sorted(times)
        p99 = ordered[int(0.99 * (len(ordered) - 1))] if ordered else 0.0
        print(f"{kind:7} {len(times):6}  {spread(times)}  p99 {p99:.0f} ms")
    print(f"told to come again: {tally.told_to_wait}   faults: {dict(tally.faults) or 'none'}")
    print(f"ends of {len(tally.receipts)} receipts: {dict(states)}")
    print(f"not listed: {len(missing)}   not found by their own word: {len(unfound)} of {ASKED}")
    for name, values in tally.memory.items():
        print(f"memory of {name}: {values[0]:.0f} MB at first, {max(values):.0f} at most")
    if missing or unfound or tally.faults or set(states) != {"searchable"}:
        raise SystemExit(1)
    return tally


def main() -> None:
    parser = arguments(__doc__, count=10_000)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--model", default="fake-384")
    args = parser.parse_args()
    with workplace(args.docs, 1) as (docs, data):
        instep = Instep(data, EMBEDDING_MODEL=args.model)
        with instep.up(docs) as process:
            asyncio.run(load(instep.gateway(), process.pid, args))


if __name__ == "__main__":
    main()
