"""Embedder replicas: texts a second of 1, 2 and 4 of them on simulated devices, and the ratio.

    python bench/scale.py [--replicas 1 2 4] [--device-ms 250] [--seconds 20] [--rows 64] [--wave]

One nats-server, one indexer with its store, N processes of `instep run embedder`. The device takes
a fixed time per call and no processor time, so what keeps N replicas from N times the rate is ours.
The clock runs from when all replicas are ready, and busy with a backlog that is as long as they are
many, to the last vector that is stored on the bus: what one of them hoards at the end counts.
Afterwards the index is compared with what was published.

`--wave` starts and stops replicas under load instead: 1, then N, then 1 again. `--kill` ends one of
them with SIGKILL and says how late the last part came that anybody had in hand at that moment.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from fleet import Fleet, Service, cpu_s, fleet, load

from services.host.startup import wanted_generation
from shared.bus.jetstream.ledger import KvLedger
from shared.bus.session import BusSession
from shared.domain.events import Batch, Document, DocumentEnriched, PartRow
from shared.domain.ids import doc_key, row_id, short_digest
from shared.domain.ordering import Revision, revise
from shared.domain.topology import embed_stage
from shared.generation import Generation
from shared.settings import load as load_settings
from shared.stores.sqlite.store import SqliteStore

AT_ONCE = 16
LOOK_S = 0.05
SETTLED_S = 3.0
IN_HAND = 40
"""More parts than replicas hold."""
STAGE = embed_stage("any")
TEXTS_PER_CALL = 64


def documents(count: int, rows: int, generation: str) -> list[DocumentEnriched]:
    """One part each, of texts that nothing else has."""
    now, first = datetime.now(UTC), time.time_ns() // 1000
    batch = Batch(id="bench", count=count, source="bench", started_at=now)
    made = []
    for n in range(count):
        path, born = f"d{n}.md", first + n
        key = doc_key("bench", path)
        about = Document(source="bench", path=path, doc_key=key, revision=born, changed_at=now)
        names = [short_digest(f"{born} {row}", 25) + "a" for row in range(rows)]
        some = tuple(
            PartRow(
                id=row_id(key, name, born),
                chunk_key=name,
                born=born,
                text=f"section {name} of a note about replicas",
            )
            for name in names
        )
        made.append(DocumentEnriched(document=about, batch=batch, generation=generation, rows=some))
    return made


async def gather(calls: Sequence[object]) -> None:
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(call) -> None:
        async with slots:
            await call()

    await asyncio.gather(*(one(call) for call in calls))


async def note_pending(ledger: KvLedger, parts: Sequence[DocumentEnriched]) -> None:
    """Note each revision as pending, as the enricher does."""

    def note(part: DocumentEnriched):
        about, at = part.document, part.document.changed_at.timestamp()
        keys = tuple(row.chunk_key for row in part.rows)
        revision = Revision(about.revision, "indexed", keys, at)
        record = revise(None, revision, source=about.source, path=about.path, now=at)
        return lambda: ledger.update(about.doc_key, record, expect=0)

    await gather([note(part) for part in parts])


class Bench:
    """What is looked at while a fleet works."""

    def __init__(self, made: Fleet, session: BusSession, generation: Generation) -> None:
        self.fleet, self.session, self.generation = made, session, generation
        self.came_at: dict[str, float] = {}
        """When the vectors of a document were published first."""

    async def listen(self) -> None:
        async def heard(message) -> None:
            key = json.loads(message.data)["document"]["doc_key"]
            self.came_at.setdefault(key, time.perf_counter())

        await self.session.client.subscribe("embeddings.ready.>", cb=heard)

    async def vectors(self) -> int:
        """Parts that the embedders have published since the start."""
        return (await self.session.js.stream_info("VECTORS")).state.last_seq

    async def until_published(self, parts: int) -> None:
        while await self.vectors() < parts:
            await asyncio.sleep(LOOK_S)

    async def drained(self) -> None:
        """The indexer is done."""
        while (await self.session.js.stream_info("VECTORS")).state.messages:
            await asyncio.sleep(LOOK_S)

    def cpu_ms(self, since: dict[str, float], parts: int) -> dict[str, float]:
        """Milliseconds of processor time a part since `since`, by who had them."""
        return {who: (at - since[who]) * 1000 / parts for who, at in self.cpu_s().items()}

    def cpu_s(self) -> dict[str, float]:
        """Seconds of processor time so far; this program stands for whoever listens."""
        server = self.fleet.server
        assert server is not None
        of: dict[str, float] = {"bus": cpu_s(server.pid), "bench": time.process_time()}
        for service in self.fleet.services:
            of[service.name] = of.get(service.name, 0.0) + service.cpu_s()
        return of

    async def check(self, parts: Sequence[DocumentEnriched]) -> str:
        """The index against what was published, and whether anything was done twice."""
        texts = sum(len(part.rows) for part in parts)
        await self.drained()
        extra = await self.vectors() - len(parts)
        ledger = KvLedger(self.session.js, self.generation.id)
        await ledger.open()
        records = await ledger.get_many([part.document.doc_key for part in parts])
        open_ = sum(1 for r in records.values() if r.pending or not r.settled)
        store = await SqliteStore.open(
            self.fleet.root / "store",
            table=f"chunks_{self.generation.id}",
            dimensions=self.generation.dimensions,
        )
        rows = await store.count()
        await store.close()
        return f"{rows} of {texts} rows, {open_} documents open, {extra} parts encoded twice"


async def run(replicas: int, args: argparse.Namespace, *, wave: bool) -> float:
    """Texts a second."""
    model = f"fake-64-{args.device_ms}ms"
    root = Path(tempfile.mkdtemp(prefix="instep-bench-"))
    with fleet(root, INSTEP_EMBEDDING__MODEL=model) as made:
        made.ready(made.run("indexer"))
        session = await BusSession.open(made.url, name="bench", drain_s=1, on_fatal=print)
        settings = load_settings(config=None, environ={"INSTEP_EMBEDDING__MODEL": model}).settings
        bench = Bench(made, session, wanted_generation(settings))
        per_replica = args.seconds * 1000 / args.device_ms * TEXTS_PER_CALL / args.rows
        parts = documents(int(per_replica * replicas), args.rows, bench.generation.id)
        ledger = KvLedger(session.js, bench.generation.id)
        await ledger.open()
        await note_pending(ledger, parts)
        await bench.listen()
        await gather([lambda p=p: session.publish(p) for p in parts])
        embedders = [made.run("embedder") for _ in range(1 if wave else replicas)]
        await asyncio.to_thread(made.ready, *embedders)
        started, before, spent = time.perf_counter(), await bench.vectors(), bench.cpu_s()
        if wave:
            await ride(bench, embedders, replicas, len(parts))
        if args.kill:
            print(f"   {await kill(bench, embedders[-1], parts)}", flush=True)
        await bench.until_published(len(parts))
        took = time.perf_counter() - started
        rate = (len(parts) - before) * args.rows / took
        print(f"   {told(bench.cpu_ms(spent, len(parts) - before), len(parts) / took)}")
        print(f"   {before} of {len(parts)} parts were done before the clock, {took:.0f} s")
        print(f"   {await bench.check(parts)}, {load()}", flush=True)
        await session.close()
    return rate


def told(cpu_ms: dict[str, float], rate: float) -> str:
    """Processor time a part, and how many cores that is at this rate (parts a second)."""
    each = ", ".join(f"{who} {ms:.2f}" for who, ms in sorted(cpu_ms.items()))
    return f"CPU ms a part: {each}; {sum(cpu_ms.values()) / 1000 * rate:.1f} cores"


async def ride(bench: Bench, embedders: list[Service], replicas: int, parts: int) -> None:
    """Start replicas after a sixth of the work, and stop them after two thirds."""
    await bench.until_published(parts // 6)
    embedders += [bench.fleet.run("embedder") for _ in range(replicas - 1)]
    await bench.until_published(2 * parts // 3)
    for extra in embedders[1:]:
        await asyncio.to_thread(extra.stop)


async def kill(bench: Bench, victim: Service, parts: Sequence[DocumentEnriched]) -> str:
    """Kill a replica, and wait for all that was in somebody's hand."""
    await asyncio.sleep(SETTLED_S)
    victim.stop(signal.SIGKILL)
    at = time.perf_counter()
    keys = [part.document.doc_key for part in parts]
    before = max(n for n, key in enumerate(keys) if key in bench.came_at)
    had = [key for key in keys[: before + IN_HAND] if key not in bench.came_at]
    while not all(key in bench.came_at for key in had):
        await asyncio.sleep(LOOK_S)
    late = sorted(bench.came_at[key] - at for key in had)
    again = [seconds for seconds in late if seconds > STAGE.ack_wait_s - 1.5 * STAGE.beat_s]
    return (
        f"{len(again)} parts in hand at the kill came {again[0]:.1f} to {again[-1]:.1f} s after it"
        f" (ack_wait {STAGE.ack_wait_s:.0f} s)"
    )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--device-ms", type=int, default=250)
    parser.add_argument("--seconds", type=float, default=20, help="of work for each replica")
    parser.add_argument("--rows", type=int, default=64, help="texts of a part")
    parser.add_argument("--wave", action="store_true")
    parser.add_argument("--kill", action="store_true")
    args = parser.parse_args()
    ideal = TEXTS_PER_CALL * 1000 / args.device_ms
    print(f"a device of {args.device_ms} ms a call: at most {ideal:.0f} texts/s each, {load()}")
    one = 0.0
    for replicas in args.replicas:
        rate = await run(replicas, args, wave=args.wave)
        one = one or rate / replicas
        print(f"{replicas} replicas: {rate:7.0f} texts/s, {rate / one:.2f} x one", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
