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
import json
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import nats
from edit import Asker, paragraphs
from harness import Instep, children, workplace
from soak_verdict import Sample, quantile, verdicts

SAMPLE_S = 10.0
SEARCH_S = 2.0
LATE_S = 30.0
MOVE_EVERY, REPLACE_EVERY, LARGE_EVERY = 20, 25, 60
LARGE = "a-large-one.md"
LARGE_PARAGRAPHS = 2_400
"""About 300 KB: more than an event carries."""


@dataclass
class Changes:
    """What was done to the folder, and how long it took until search told it."""

    folder: Path
    rate: float
    chance: random.Random = field(default_factory=lambda: random.Random(11))
    waiting: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Path to the moment of its change, and the word that only the new text has."""
    took: list[tuple[float, float]] = field(default_factory=list)
    """Moment of the event, seconds since the change."""
    findable: dict[str, str] = field(default_factory=dict)
    done: int = 0
    large: int = 0
    paths_ever: int = 0
    late: int = 0

    def __post_init__(self) -> None:
        self.files = [
            path
            for path in sorted(self.folder.rglob("*.md"))
            if path.name != LARGE and len(paragraphs(path.read_text(errors="replace"))) > 1
        ]
        self.paths_ever = sum(path.is_file() for path in self.folder.rglob("*"))

    async def run(self) -> None:
        """A change every 1/rate seconds; one that comes late does not make the next one later."""
        due = time.monotonic()
        while True:
            await asyncio.to_thread(self._change)
            self.done += 1
            due += 1 / self.rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _change(self) -> None:
        at = self.chance.randrange(len(self.files))
        large = self.done % LARGE_EVERY == LARGE_EVERY - 2
        file = self.folder / LARGE if large else self.files[at]
        if self._path(file) in self.waiting:
            return
        if large:
            self._write(file, file.read_text())
            self.large += 1
            return
        if self.done % REPLACE_EVERY == REPLACE_EVERY - 1:
            fresh = file.with_name(f"new-{self.done}.md")
            self._write(fresh, file.read_text())
            file.unlink()
        elif self.done % MOVE_EVERY == MOVE_EVERY - 1:
            fresh = file.with_name(f"moved-{self.done}.md")
            self.waiting[self._path(fresh)] = time.monotonic(), ""
            file.rename(fresh)
        else:
            self._write(file, file.read_text())
            return
        self.findable.pop(self._path(file), None)
        self.files[at] = fresh
        self.paths_ever += 1

    def _write(self, file: Path, text: str) -> None:
        blocks = text.split("\n\n")
        word = f"quux{self.done}zyx{self.chance.randrange(10**6)}"
        at = self.chance.choice(paragraphs(text))
        blocks[at] = f"This paragraph was written anew and names {word}, which nothing else does."
        self.findable.pop(self._path(file), None)
        self.waiting[self._path(file)] = time.monotonic(), word
        file.write_text("\n\n".join(blocks))

    def _path(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()

    def indexed(self, path: str) -> None:
        if path in self.waiting:
            since, word = self.waiting.pop(path)
            now = time.monotonic()
            self.took.append((now, now - since))
            self.late += now - since > LATE_S
            if word:
                self.findable[path] = word

    def overdue(self) -> int:
        now = time.monotonic()
        return sum(now - since > LATE_S for since, _ in self.waiting.values())


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


def write_large(folder: Path) -> None:
    """A document whose content lies among the bodies."""
    told = (
        f"Paragraph {n} of a long document speaks of {n * 7919} things, and then of {n * 104729}, "
        "so that no two are alike."
        for n in range(LARGE_PARAGRAPHS)
    )
    (folder / LARGE).write_text("# A large one\n\n" + "\n\n".join(told) + "\n")


def family(pid: int) -> Iterator[int]:
    yield pid
    for child in children(pid):
        yield from family(child)


def memory_mb(pid: int) -> float:
    """Proportional set size of one process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def entries(folder: str) -> int:
    return len(list(Path(folder).iterdir()))


def on_disk(folder: Path) -> tuple[int, int]:
    """Files below a folder and the bytes that they take."""
    files = taken = 0
    for path in folder.rglob("*"):
        try:
            found = path.lstat()
        except OSError:  # gone meanwhile
            continue
        if path.is_file():
            files, taken = files + 1, taken + found.st_blocks * 512
    return files, taken


async def sample(
    process: int, data: Path, js: Any, changes: Changes, searches: Searches, at_s: float
) -> Sample:
    """Every figure at one moment."""
    pids = list(family(process))
    lance = data / "store"
    streams = {info.config.name: info for info in await js.streams_info()}
    store_files, store_bytes = await asyncio.to_thread(on_disk, lance)
    server_files, server_bytes = await asyncio.to_thread(on_disk, data / "server")
    figures = {
        "memory_mb": memory_mb(process),
        "server_memory_mb": sum(memory_mb(pid) for pid in pids if name_of(pid) == "nats-server"),
        "open_files": sum(entries(f"/proc/{pid}/fd") for pid in pids),
        "threads": sum(entries(f"/proc/{pid}/task") for pid in pids),
        "processes": len(pids),
        "store_mb": store_bytes / 1e6,
        "store_files": store_files,
        "store_versions": len(list(lance.glob("*/_versions/*.manifest"))),
        "store_fragments": len(list(lance.glob("*/data/*.lance"))),
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
        "server_memory_mb",
        "open_files",
        "threads",
        "store_mb",
        "store_files",
        "store_versions",
    ),
    *("store_fragments", "server_mb", "server_files", "embcache kb", "DOCS messages"),
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
