"""How soon an edit is searchable while a huge batch waits.

    python bench/fair.py [--chunks 100000] [--replicas 2] [--device-ms 250] [--edits 20]
                         [--meanwhile]

Two watched folders: one gets thousands of files at once, the other is small. The batch is planned
whole before the clock runs, so all of its chunks wait for the model, which N replicas of
`instep run embedder` on simulated devices take from the queue. Then a file of either source is
edited, again and again: from the save to the first keyword search over HTTP that finds it. A tap on
the bus tells where that time went. With --meanwhile the small source is edited while the batch is
still listed, accepted and planned.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet import Fleet, fleet, load
from harness import spread, wait_until
from tap import Tap, table, taken

from shared.domain.ids import doc_key

CHUNKS_PER_FILE = 64
GIVE_UP_S = 120.0


def write_batch(folder: Path, files: int) -> None:
    """Files of CHUNKS_PER_FILE sections, each longer than half a chunk."""
    for n in range(files):
        sections = [
            f"## Section {n}x{k}\n\nThis is what {n}x{k} says about queues and lanes, at length."
            for k in range(CHUNKS_PER_FILE)
        ]
        path = folder / f"d{n // 100}" / f"n{n}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# Note {n}\n\n" + "\n\n".join(sections) + "\n")


class Gateway:
    def __init__(self, made: Fleet, name: str) -> None:
        service = next(s for s in made.services if name in s.name)
        wait_until(lambda: service.field("gateway_listening", "url"), 60)
        self.url = service.field("gateway_listening", "url")

    def get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=60) as answer:
            return json.loads(answer.read())

    def finds(self, word: str) -> bool:
        return bool(self.get(f"search?mode=keyword&limit=1&q={word}")["hits"])

    def waiting(self) -> dict[str, int]:
        """Messages by stage; a message for the embedder has up to 64 chunks."""
        stages = self.get("status")["stages"]
        return {stage["stage"]: stage["waiting"] + stage["running"] for stage in stages}


def edits(
    url: str, folders: Sequence[Path], times: int, gateway: Gateway
) -> dict[str, list[dict[str, float]]]:
    """Edit a file of each folder in turns; for each edit the seconds of its steps."""
    took: dict[str, list[dict[str, float]]] = {folder.name: [] for folder in folders}
    with Tap(url) as tap:
        for n in range(times):
            for folder in folders:
                tap.follow(doc_key(folder.name, "edited.md"))
                steps = edit(folder / "edited.md", f"quux{n}{folder.name}", gateway, tap)
                took[folder.name].append(steps)
    return took


def edit(file: Path, word: str, gateway: Gateway, tap: Tap) -> dict[str, float]:
    """Seconds by step, from the save to the first answer that holds the edit."""
    began = time.perf_counter()
    file.write_text(f"# Edited\n\nThis names {word}, which nothing else does.\n")
    while not gateway.finds(word):
        if time.perf_counter() - began > GIVE_UP_S:
            raise SystemExit(f"not found after {GIVE_UP_S:.0f} s: {gateway.waiting()}")
        time.sleep(0.05)
    return taken(began, tap.times() | {"found": time.perf_counter()})


@dataclass
class Batch:
    """The files that come at once."""

    made: Fleet
    gateway: Gateway
    files: Path
    to: Path

    def move(self) -> None:
        shutil.move(self.files, self.to)

    def wait(self, parts: int) -> None:
        """Until all of it waits for the model."""
        began = time.perf_counter()
        wait_until(lambda: self.gateway.waiting()["embedder"] >= parts, 900, 1.0)
        wait_until(lambda: not self.gateway.waiting()["enricher"], 900, 1.0)
        chunks = sum(line["todo"] for line in self.made.services[-1].lines("revision_planned"))
        took_s = time.perf_counter() - began
        print(f"{chunks} chunks planned in {took_s:.0f} s: {self.gateway.waiting()}, {load()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--device-ms", type=int, default=250)
    parser.add_argument("--edits", type=int, default=20)
    parser.add_argument("--meanwhile", action="store_true", help="edit while the batch is planned")
    args = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="instep-fair-"))
    huge, small = root / "huge", root / "small"
    for folder in (huge, small):
        folder.mkdir()
        (folder / "edited.md").write_text("# Before\n\nNothing yet.\n")
    env = {
        "INSTEP_EMBEDDING__MODEL": f"fake-64-{args.device_ms}ms",
        "INSTEP_CHUNKING__TOKENS": "24",
        "INSTEP_SOURCES__HUGE__PATH": str(huge),
        "INSTEP_SOURCES__SMALL__PATH": str(small),
        "INSTEP_GATEWAY__PORT": "0",
    }
    with fleet(root, **env) as made:
        made.ready(made.run("gateway", "indexer", "validator"))
        made.ready(made.run("producer"), made.run("enricher"))
        write_batch(root / "made", args.chunks // CHUNKS_PER_FILE)
        batch = Batch(made, Gateway(made, "gateway"), root / "made", huge / "batch")
        if args.meanwhile:
            made.ready(*(made.run("embedder") for _ in range(args.replicas)))
            batch.move()
            took = edits(made.url, [small], args.edits, batch.gateway)
        else:
            batch.move()
            batch.wait(args.chunks // CHUNKS_PER_FILE)
            made.ready(*(made.run("embedder") for _ in range(args.replicas)))
            took = edits(made.url, (small, huge), args.edits, batch.gateway)
        print(f"waiting at the end: {batch.gateway.waiting()}, {load()}")
    for name, what in (("small", "another source"), ("huge", "the same source")):
        if name in took:
            print(f"edit of {what}, s: {spread([sum(steps.values()) for steps in took[name]])}")
            print(table(took[name]))


if __name__ == "__main__":
    main()
