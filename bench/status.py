"""What a status costs at many documents. `python -m bench.status [--documents 200000]`.

A server of its own holds a ledger of that many settled records, three chunks each. "Reading" is
what every answer needed before the gateway kept an index: all records. The index is built from
nothing, and the answers are timed while one record a millisecond changes. Status as the
gateway gives it, without HTTP; the flow is read from the server each time.
"""

import argparse
import asyncio
import contextlib
import gc
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import nats

from bench.sweep_store import Watch, resident_mb
from services.gateway.documents import documents, failures
from services.gateway.status.snapshots import InstanceSnapshots
from services.gateway.status.status import Observation, StageSeen, status
from shared.bus.admin.provision import provision
from shared.bus.jetstream.ledger import KvLedger
from shared.bus.monitor.flow import flow
from shared.domain.codecs.record_codec import to_bytes
from shared.domain.ids import doc_key
from shared.domain.ordering import Record, Revision, revise, settle
from shared.domain.services import stages
from shared.domain.topology import ledger_bucket

GENERATION: Final = "gbench"
ROUNDS: Final = 200
CONFIG: Final = """
listen: "127.0.0.1:-1"
ports_file_dir: "{folder}"
max_payload: 1MB
jetstream {{ store_dir: "{folder}/js", max_mem: 64MB, max_file: 256GB }}
feature_flags {{ js_ack_fc_v2: false }}
"""


def record(n: int, seq: int, dice: random.Random) -> Record:
    keys = tuple("".join(dice.choices("abcdefgh", k=25)) + "a" for _ in range(3))
    now = time.time()
    wanted = Revision(seq, "indexed", keys, changed_at=now - 1)
    return settle(revise(None, wanted, source="docs", path=path_of(n), now=now), now=now)


def path_of(n: int) -> str:
    return f"guide/section {n // 100}/a page of the manual {n}.md"


@contextlib.contextmanager
def server() -> "contextlib.Iterator[str]":
    with tempfile.TemporaryDirectory(prefix="instep-bench-") as name:
        folder = Path(name)
        (folder / "nats.conf").write_text(CONFIG.format(folder=folder))
        binary = Path(sys.executable).parent / "nats-server"
        process = subprocess.Popen(
            [binary, "-c", folder / "nats.conf"], stderr=(folder / "log").open("wb")
        )
        try:
            while not (found := list(folder.glob("*.ports"))):
                time.sleep(0.01)
            time.sleep(0.1)
            text = found[0].read_text()
            yield "nats://" + text.split("nats://")[1].split('"')[0]
        finally:
            process.terminate()
            process.wait()


async def fill(client: nats.NATS, count: int, generation: str = GENERATION) -> None:
    """Write the records without waiting for each acknowledgement."""
    dice, bucket = random.Random(7), ledger_bucket(generation).name
    js = client.jetstream(timeout=60)
    for n in range(count):
        subject = f"$KV.{bucket}.{doc_key('docs', path_of(n))}"
        data = to_bytes(record(n, n + 1, dice))
        if n % 1000 == 999:
            await js.publish(subject, data)
        else:
            await client.publish(subject, data)
    messages = (await js.stream_info(f"KV_{bucket}")).state.messages
    assert messages >= count, messages


async def change(ledger: KvLedger, count: int) -> None:
    dice = random.Random(8)
    while True:
        n = dice.randrange(count)
        key = doc_key("docs", path_of(n))
        entry = await ledger.get(key)
        assert entry is not None
        settled = entry.record.settled
        assert settled is not None
        changed = replace(entry.record, settled=replace(settled, settled_at=time.time()))
        await ledger.update(key, changed, expect=entry.at)
        await asyncio.sleep(0.001)


async def timed(name: str, call: Callable[[], Awaitable[object]], rounds: int) -> None:
    watch = Watch()
    looking = asyncio.create_task(watch.look())
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        await call()
        times.append(1000 * (time.perf_counter() - started))
        await asyncio.sleep(0.01)
    looking.cancel()
    times.sort()
    p50, p95 = times[len(times) // 2], times[int(len(times) * 0.95)]
    print(
        f"{name:<42} p50 {p50:9.1f} ms  p95 {p95:9.1f} ms  loop blocked {watch.gap_ms:7.1f} ms",
        flush=True,
    )


async def main(count: int) -> None:
    with server() as url:
        client = await nats.connect(url)
        js = client.jetstream(timeout=60)
        await provision(js, generation=GENERATION)
        started = time.perf_counter()
        await fill(client, count)
        print(f"{count:,} records written in {time.perf_counter() - started:.1f} s", flush=True)
        ledger = KvLedger(js, GENERATION)
        await ledger.open()
        observed = stages(GENERATION)

        async def observe() -> Observation:
            seen = await flow(js, observed)
            return Observation(
                time.time(),
                tuple(
                    StageSeen(stage.word, s.waiting, s.running, stage.takes, s.done)
                    for stage, s in zip(observed, seen, strict=True)
                ),
            )

        async def reading() -> int:
            await observe()
            return len({key: record async for key, record in ledger.entries()})

        gc.collect()
        before = resident_mb()
        looks = InstanceSnapshots(observe, ledger)
        await timed("building the index, and the first status", looks.latest, 1)
        gc.collect()
        grown = resident_mb() - before
        print(f"the index: {grown:.1f} MB, {grown * 1024**2 / count:.0f} bytes a document")

        async def fresh() -> None:
            looks._last = None
            look = await looks.latest()
            status(look.board, look.seen)

        async def listed() -> None:
            await fresh()
            found, *_ = looks.watch._index.page(limit=50, words=("searchable",))
            list(map(documents.line, found))

        async def failed() -> None:
            await fresh()
            failures.of_ledger(looks.watch._index.of(*failures.NEED_SOMEBODY), frozenset())

        await timed("status, at rest", fresh, ROUNDS)
        changing = asyncio.create_task(change(ledger, count))
        await timed("status, while records change", fresh, ROUNDS)
        await timed("a page of documents, while records change", listed, ROUNDS)
        await timed("failures, while records change", failed, ROUNDS)
        changing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await changing
        await timed("reading all records", reading, 3)
        await client.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=200_000)
    asyncio.run(main(parser.parse_args().documents))
