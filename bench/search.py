"""How long a search takes beside edits: what a client waits, and the parts that the answer tells.

python bench/search.py [--count 10000] [--rate 20] [--edits 10] [--seconds 60] [--model MODEL]
    [--store sqlite] [--keep FOLDER]

Searches come at fixed times whether or not the last one was answered, so that a slow answer delays
no other and is counted whole. The same questions are asked with a remembered vector (each was asked
before) and anew (a number makes each another one). The documents are made of the manual's
sentences; `--model fake-384` fills the index without a model, and then a question's vector costs
nothing either. With `--keep` the next run finds the index filled.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from harness import Instep, arguments, spread, wait_until, workplace

QUESTIONS = (
    *("how do I rotate a key", "what survives a power failure", "back up the index"),
    *("max_payload", "nats stream add", "removals that wait for a person", "change the model"),
    *("a file that cannot be read", "search by words only", "how fresh is an answer"),
    *("Weaviate in a cluster", "ERR-1043", "which formats are read", "delete a source"),
)
WARM_S = 8.0
PARTS = ("freshness", "encode", "vectors", "words", "ledger", "rank")


class Answers:
    """Milliseconds that the client waited, and those of each part."""

    def __init__(self) -> None:
        self.waited: list[float] = []
        self.parts: dict[str, list[float]] = {name: [] for name in (*PARTS, "rest")}
        self.failed = 0

    def add(self, waited_ms: float, answer: dict[str, Any]) -> None:
        self.waited.append(waited_ms)
        told = answer["timings"]
        for name in PARTS:
            self.parts[name].append(told.get(name, 0.0))
        side_by_side = max(told.get("encode", 0) + told.get("vectors", 0), told.get("words", 0))
        known = side_by_side + sum(told.get(name, 0) for name in ("freshness", "ledger", "rank"))
        self.parts["rest"].append(max(0.0, waited_ms - known))

    def told(self) -> str:
        ordered = sorted(self.waited)
        p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
        lines = [f"{spread(self.waited)}  p99 {p99:.1f} ms  failed {self.failed}"]
        lines += [f"    {name:10} {spread(values)}" for name, values in self.parts.items()]
        return "\n".join(lines)


async def ask(
    session: aiohttp.ClientSession, url: str, q: str, mode: str, into: Answers, due: float
) -> None:
    body = {"q": q, "mode": mode, "explain": True}
    async with session.post(f"{url}/api/v1/search", json=body) as response:
        answer = await response.json()
        if response.status == 200:
            into.add(1000 * (time.perf_counter() - due), answer)
        else:
            into.failed += 1


async def searches(url: str, *, mode: str, anew: bool, rate: float, seconds: float) -> Answers:
    """Questions at a fixed rate."""
    into, count = Answers(), int(rate * seconds)
    async with aiohttp.ClientSession() as session:
        if not anew:
            for q in QUESTIONS:
                await ask(session, url, q, mode, Answers(), time.perf_counter())
        started = time.perf_counter()
        asked = []
        for n, q in enumerate(itertools.islice(itertools.cycle(QUESTIONS), count)):
            due = started + n / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            words = f"{q} {random.random():.9f}" if anew else q
            asked.append(asyncio.create_task(ask(session, url, words, mode, into, due)))
        await asyncio.gather(*asked)
    return into


async def edits(files: list[Path], rate: float) -> None:
    """Another sentence at the end of another file, at a fixed rate."""
    chance = random.Random(3)
    for n in itertools.count():
        file = chance.choice(files)
        file.write_text(f"{file.read_text()}\nEdit {n} tells something about edit {n}.\n")
        await asyncio.sleep(1 / rate)


async def measured(url: str, files: list[Path], args: Any) -> None:
    await searches(url, mode="hybrid", anew=True, rate=2, seconds=WARM_S)  # their process begins
    for beside in (0.0, args.edits):
        editing = asyncio.create_task(edits(files, beside)) if beside else None
        for mode, anew in (("hybrid", False), ("hybrid", True), ("keyword", False)):
            found = await searches(url, mode=mode, anew=anew, rate=args.rate, seconds=args.seconds)
            what = f"{mode}, {'each question new' if anew else 'questions asked before'}"
            print(f"{what}, {args.rate:g} searches/s, {beside:g} edits/s", flush=True)
            print(f"    {found.told()}", flush=True)
        if editing:
            editing.cancel()


def swept(instep: Instep, since: datetime) -> bool:
    """Whether the sweep that every start begins with has ended."""
    last = instep.json("status")[0]["last_sweep"]
    return last is not None and datetime.fromisoformat(last["at"]) > since


def main() -> None:
    parser = arguments(__doc__, count=10_000)
    parser.add_argument("--rate", type=float, default=20.0, help="searches a second")
    parser.add_argument("--edits", type=float, default=10.0, help="edits a second beside them")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--model", default="fake-384")
    parser.add_argument("--store", default="sqlite", help="kind of the store")
    parser.add_argument("--keep", type=Path, help="a folder for documents and index, used again")
    args = parser.parse_args()
    with workplace(args.docs, args.count, args.keep) as (docs, data):
        instep = Instep(data, EMBEDDING_MODEL=args.model, INSTEP_STORE__KIND=args.store)
        started, since = time.monotonic(), datetime.now(UTC)
        with instep.up(docs) as process:
            wait_until(lambda: instep.in_step(process), 3600, every_s=2.0)
            checks, _ = instep.json("doctor")
            rows = next(c["text"] for c in checks["checks"] if c["name"] == "store")
            print(f"in step after {time.monotonic() - started:.0f} s: {args.count} files, {rows}")
            wait_until(lambda: swept(instep, since), 600, every_s=2.0)
            asyncio.run(measured(instep.gateway(), sorted(docs.rglob("*.md")), args))


if __name__ == "__main__":
    main()
