"""One sweep over an index that agrees: seconds, and how much memory it takes.

    .venv/bin/python bench/sweep.py [--documents 100000] [--rows 1] [--folder DIR]

DOCS, ledger and SQLite store are filled directly, with made-up vectors and a few words in each
row; then a process of its own sweeps, so that its memory is nothing but the sweep's. Its memory at
the start is that with everything imported, connected and opened.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import nats
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from services.host.nats_server.local import find_server
from services.validator.sweep.sweep import Sweep
from shared.bus.admin.provision import provision
from shared.bus.jetstream.change_log import JetChangeLog
from shared.bus.jetstream.ledger import KvLedger
from shared.bus.monitor.in_flight import JetRoad
from shared.domain.codecs.record_codec import to_bytes
from shared.domain.events import Batch, Document, DocumentChanged, Inline
from shared.domain.ids import doc_key
from shared.domain.ordering import Revision, revise, settle
from shared.ports import Row
from shared.stores.sqlite.store import SqliteStore

GENERATION = "gbench"
DIMENSIONS = 384
AT_ONCE = 4_000
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DICE = np.random.default_rng(0)


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A nats-server of its own; it writes to the disk now and then, for filling is no measure."""
    ports = folder / "ports"
    shutil.rmtree(ports, ignore_errors=True)
    ports.mkdir(parents=True)
    config = folder / "nats.conf"
    config.write_text(
        f'listen: "127.0.0.1:-1"\nports_file_dir: "{ports}"\nmax_payload: 1MB\n'
        f'jetstream {{ store_dir: "{folder}/js", max_mem: 64MB, max_file: 64GB }}\n'
        "feature_flags { js_ack_fc_v2: false }\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([find_server(), "-c", config], stdout=log, stderr=log)
    try:
        while not (found := list(ports.glob("*.ports"))):
            time.sleep(0.01)
        time.sleep(0.2)
        yield json.loads(found[0].read_text())["nats"][0]
    finally:
        process.terminate()
        process.wait(30)


def chunk_keys(count: int) -> tuple[str, ...]:
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    return tuple("".join(letters[n] for n in DICE.integers(0, 32, 25)) + "a" for _ in range(count))


async def fill(url: str, store_path: Path, documents: int, rows: int) -> None:
    client = await nats.connect(url)
    js = client.jetstream()
    await provision(js, generation=GENERATION)
    first = (await js.stream_info("DOCS")).config.first_seq
    store = await SqliteStore.open(store_path, table=f"chunks_{GENERATION}", dimensions=DIMENSIONS)
    keys = [chunk_keys(rows) for _ in range(1000)]
    for start in range(0, documents, AT_ONCE):
        written: list[Row] = []
        for n in range(start, min(documents, start + AT_ONCE)):
            path, sequence = f"folder{n % 100}/document{n}.md", first + n
            key = doc_key("bench", path)
            change = DocumentChanged(
                document=Document(source="bench", path=path, doc_key=key, changed_at=NOW),
                batch=Batch(id="b", count=documents, source="bench", started_at=NOW),
                op="upserted",
                content=Inline(data="A few words about nothing."),
            )
            await client.publish(change.subject, change.model_dump_json().encode())
            revision = Revision(sequence, "indexed", keys[n % 1000], NOW.timestamp())
            record = settle(
                revise(None, revision, source="bench", path=path, now=0.0), now=NOW.timestamp()
            )
            await client.publish(f"$KV.ledger_{GENERATION}.{key}", to_bytes(record))
            written += made(key, path, record.settled.rows)
        await client.flush(60)
        await store.upsert(written)
        print(f"\rfilled {start + AT_ONCE:,}", end="", file=sys.stderr)
    await store.maintain()
    await store.close()
    for stream in ("DOCS", f"KV_ledger_{GENERATION}"):
        while (state := (await js.stream_info(stream)).state).messages < documents:
            await asyncio.sleep(0.1)
    last = (await js.stream_info("DOCS")).state.last_seq
    assert last == first + documents - 1, state
    # as if the enricher had taken everything: its consumer starts behind it
    name = f"enricher_{GENERATION}"
    config = (await js.consumer_info("DOCS", name)).config
    await js.delete_consumer("DOCS", name)
    config.deliver_policy, config.opt_start_seq = "by_start_sequence", last + 1
    await js.add_consumer("DOCS", config)
    await client.close()
    print(file=sys.stderr)


def made(key: str, path: str, refs: Sequence[object]) -> list[Row]:
    vectors = DICE.standard_normal((len(refs), DIMENSIONS), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [
        Row(
            id=ref.id(key),
            doc_key=key,
            source="bench",
            path=path,
            born=ref.born,
            chunk_key=ref.chunk_key,
            title="A title",
            heading=("One", "Two"),
            text="A few words about nothing, and some more of them, so that there is a text.",
            metadata={"lang": "en"},
            vector=vector,
        )
        for ref, vector in zip(refs, vectors, strict=True)
    ]


async def measure(url: str, store_path: Path) -> None:
    client = await nats.connect(url)
    js = client.jetstream()
    ledger = KvLedger(js, GENERATION)
    await ledger.open()
    store = await SqliteStore.open(store_path, table=f"chunks_{GENERATION}", dimensions=DIMENSIONS)
    await store.count()
    sweep = Sweep(
        generation=GENERATION,
        ledger=ledger,
        store=store,
        changes=JetChangeLog(js),
        road=JetRoad(js, GENERATION),
        now=lambda: datetime.now(UTC),
    )
    before_mb = memory_mb("VmRSS")
    forget_peak()
    parts = {}
    started = time.perf_counter()
    changes = [1 async for _ in sweep.changes.sequences()]
    parts["DOCS"] = time.perf_counter() - started
    started = time.perf_counter()
    await store.digests()
    parts["store"] = time.perf_counter() - started
    started = time.perf_counter()
    swept = await sweep()
    took = time.perf_counter() - started
    peak_mb = memory_mb("VmHWM")
    assert swept.clean, swept
    assert len(changes) == swept.documents
    print(
        f"{swept.documents:,} documents, {swept.rows:,} rows: {took:.2f} s, "
        f"peak memory {peak_mb - before_mb:.0f} MB above the start ({before_mb:.0f} MB); "
        f"reading DOCS alone {parts['DOCS']:.2f} s, the store alone {parts['store']:.2f} s"
    )
    await client.close()


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def memory_mb(field: str) -> float:
    """Of this process alone; `getrusage` would count what its parent was before it began."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise OSError(f"no {field}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=1, help="of each document")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="fill it if it is empty, and keep it")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        asyncio.run(measure(args.measure[0], Path(args.measure[1])))
        return
    with tempfile.TemporaryDirectory(prefix="instep-bench-") as temporary:
        folder = args.folder or Path(temporary)
        store = folder / "store"
        with server(folder) as url:
            if not store.exists():
                asyncio.run(fill(url, store, args.documents, args.rows))
            for _ in range(args.rounds):
                measuring = [sys.executable, __file__, "--measure", url, str(store)]
                subprocess.run(measuring, check=True)


if __name__ == "__main__":
    main()
