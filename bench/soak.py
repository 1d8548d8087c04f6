"""Steady edits for a long time while `up` runs: what grows, and does freshness stay?

    python bench/soak.py --minutes 20 --rate 5 [--docs FOLDER] [--model fake-64] [--out soak.json]

The number of documents stays the same: most changes are edits of a paragraph, some move a file,
some replace one file by another, some edit a large one whose content lies among the bodies.
Freshness is the time from the save to the event that says searchable. Prints a table, a line a
minute, and a verdict for every curve; exit status 1 when one of them fails.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nats
from edit import Asker
from harness import Instep, children, workplace
from soak_changes import Changes, write_large
from soak_verdict import Sample, quantile, verdicts

SAMPLE_S = 10.0
SEARCH_S = 2.0


@dataclass
class Searches:
    """Asks now and then for a word that is in the index."""

    changes: Changes
    asker: Asker
    asked: int = 0
    missed: int = 0

    async def run(self) -> None:
        while True:
            await asyncio.sleep(SEARCH_S)
            if not self.changes.findable:
                continue
            path = self.changes.chance.choice(list(self.changes.findable))
            word = self.changes.findable[path]
            found = await asyncio.to_thread(self.asker.finds, word, path)
            if self.changes.findable.get(path) == word:  # not edited meanwhile
                self.asked += 1
                self.missed += not found


def family(pid: int) -> Iterator[int]:
    yield pid
    for child in children(pid):
        yield from family(child)


def memory_mb(pid: int, kind: str = "Anon") -> float:
    """Proportional set size of one process: what it has allocated.

    `kind` "File" is what it has mapped of files: the kernel's cache, which comes and goes by
    tens of megabytes as the kernel likes, so no verdict looks at it.
    """
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"Pss_{kind}:"))


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def entries(folder: str) -> int:
    return len(list(Path(folder).iterdir()))


def on_disk(folder: Path) -> tuple[int, int]:
    """Files below a folder and the bytes that they take."""
    files = taken = 0
    for parent, _, names in os.walk(folder):  # goes on where a folder is gone meanwhile
        for name in names:
            with contextlib.suppress(OSError):
                taken += Path(parent, name).lstat().st_blocks * 512
                files += 1
    return files, taken


async def sample(
    process: int, data: Path, js: Any, changes: Changes, searches: Searches, at_s: float
) -> Sample:
    """Every figure at one moment."""
    pids = list(family(process))
    streams = {info.config.name: info for info in await js.streams_info()}
    store_files, store_bytes = await asyncio.to_thread(on_disk, data / "store")
    server_files, server_bytes = await asyncio.to_thread(on_disk, data / "server")
    figures = {
        "memory_mb": memory_mb(process),
        "mapped_mb": memory_mb(process, "File"),
        "server_memory_mb": sum(memory_mb(pid) for pid in pids if name_of(pid) == "nats-server"),
        "open_files": sum(entries(f"/proc/{pid}/fd") for pid in pids),
        "threads": sum(entries(f"/proc/{pid}/task") for pid in pids),
        "processes": len(pids),
        "store_mb": store_bytes / 1e6,
        "store_files": store_files,
        "server_mb": server_bytes / 1e6,
        "server_files": server_files,
        "consumers": sum(info.state.consumer_count for info in streams.values()),
        "paths_ever": changes.paths_ever,
        "changes": changes.done,
        "large_changes": changes.large,
        "waiting": len(changes.waiting),
        "late": changes.late + changes.overdue(),
        "asked": searches.asked,
        "missed": searches.missed,
    }
    for name, info in streams.items():
        short = "ledger" if name.startswith("KV_ledger_") else name.removeprefix("KV_")
        figures[f"{short} messages"] = info.state.messages
        figures[f"{short} kb"] = info.state.bytes / 1000
    return Sample(at_s, figures)


COLUMNS = (
    *(
        "memory_mb",
        "mapped_mb",
        "server_memory_mb",
        "open_files",
        "threads",
        "store_mb",
        "store_files",
    ),
    *("server_mb", "server_files", "embcache kb", "DOCS messages"),
    *("ledger messages", "batches messages", "OBJ_bodies kb", "changes", "late", "missed"),
)


def heading() -> str:
    return "min  p50 ms  p95 ms  " + "  ".join(name.replace(" messages", "") for name in COLUMNS)


def line(minute: int, now: Sample, took: list[float]) -> str:
    times = f"{quantile(took, 0.5) * 1000:6.0f}  {quantile(took, 0.95) * 1000:6.0f}" if took else ""
    cells = [
        f"{now.figures.get(name, 0):{len(name.replace(' messages', ''))}.0f}" for name in COLUMNS
    ]
    return f"{minute:3d}  {times:14}  " + "  ".join(cells)


async def soak(
    args: argparse.Namespace, process: int, docs: Path, instep: Instep
) -> dict[str, Any]:
    """Run the changes and watch. Returns samples, freshness by minute, and the verdicts."""
    address = json.loads((instep.data / "instance.json").read_text())["nats_url"]
    client = await nats.connect(address)
    changes = Changes(docs, args.rate)
    searches = Searches(changes, Asker(instep.gateway()))

    async def heard(message: Any) -> None:
        changes.indexed(json.loads(message.data)["document"]["path"])

    await client.subscribe("documents.indexed.>", cb=heard)
    started = time.monotonic()
    tasks = [asyncio.create_task(changes.run()), asyncio.create_task(searches.run())]
    samples: list[Sample] = []
    minutes: list[dict[str, float]] = []
    print(heading(), flush=True)
    while time.monotonic() - started < args.minutes * 60:
        await asyncio.sleep(SAMPLE_S - (time.monotonic() - started) % SAMPLE_S)
        for task in tasks:
            if task.done():
                task.result()
        at_s = time.monotonic() - started
        samples.append(
            await sample(process, instep.data, client.jetstream(), changes, searches, at_s)
        )
        if int(at_s // 60) > len(minutes):
            since = started + 60 * len(minutes)
            took = [t for moment, t in changes.took if since <= moment < since + 60]
            minutes.append({"p50_s": quantile(took, 0.5), "p95_s": quantile(took, 0.95)})
            print(line(len(minutes), samples[-1], took), flush=True)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await client.close()
    return {
        "arguments": {name: str(value) for name, value in vars(args).items()},
        "samples": [asdict(each) for each in samples],
        "minutes": minutes,
        "verdicts": [asdict(each) for each in verdicts(samples, minutes)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=Path, help="a folder of documents; default: made here")
    parser.add_argument("--count", type=int, default=200, help="documents, when made here")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=5.0, help="changes per second")
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--out", type=Path, help="write everything that was measured as JSON")
    args = parser.parse_args()
    with workplace(args.docs, args.count) as (docs, data):
        write_large(docs)
        instep = Instep(data, INSTEP_EMBEDDING__MODEL=args.model)
        with instep.up(docs) as process:
            result = asyncio.run(soak(args, process.pid, docs, instep))
        report, _ = instep.json("validate")
    result["validate_passed"] = report["passed"]
    if args.out:
        args.out.write_text(json.dumps(result, indent=1))
    print()
    for verdict in result["verdicts"]:
        print(f"{'ok  ' if verdict['passed'] else 'FAIL'}  {verdict['words']}")
    print(f"{'ok  ' if report['passed'] else 'FAIL'}  validate after the end")
    failed = [v for v in result["verdicts"] if not v["passed"]]
    raise SystemExit(1 if failed or not report["passed"] else 0)


if __name__ == "__main__":
    main()
