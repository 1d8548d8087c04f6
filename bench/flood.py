"""How soon a submission is accepted, and is searchable, behind a burst of another source.

    python bench/flood.py [--submissions 5000]

Every submission of the burst is stored in INTAKE before the one that is looked for. The
model is the fake one, which takes no time. In the table, the time before DOCS is that in INTAKE.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path

import nats
from fair import Gateway
from fleet import fleet, load
from harness import wait_until
from tap import Tap, table, taken

from shared.domain.ids import doc_key

IN_FLIGHT = 256


async def publish(url: str, count: int) -> float:
    """Store the burst, then the other one. Returns when the other one was stored."""
    bus = await nats.connect(url)
    js, gate = bus.jetstream(), asyncio.Semaphore(IN_FLIGHT)

    async def submit(source: str, path: str, text: str) -> None:
        async with gate:
            data = json.dumps({"path": path, "text": text}).encode()
            await js.publish(f"documents.submitted.{source}", data, timeout=60)

    await asyncio.gather(*(submit("burst", f"n{n}.md", f"Note {n}.") for n in range(count)))
    began = time.perf_counter()
    await submit("calm", "edited.md", "This names quuxcalm, which nothing else does.")
    await bus.close()
    return began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--submissions", type=int, default=5000)
    args = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="instep-flood-"))
    with fleet(root, INSTEP_EMBEDDING__MODEL="fake-64", INSTEP_GATEWAY__PORT="0") as made:
        made.ready(made.run("gateway", "indexer", "validator"))
        made.ready(made.run("producer"), made.run("enricher"), made.run("embedder"))
        gateway = Gateway(made, "gateway")
        with Tap(made.url) as tap:
            tap.follow(doc_key("calm", "edited.md"))
            sent = time.perf_counter()
            began = asyncio.run(publish(made.url, args.submissions))
            print(
                f"{args.submissions} stored in {began - sent:.1f} s: {gateway.waiting()}, {load()}"
            )
            wait_until(lambda: gateway.finds("quuxcalm"), 600, 0.05)
            steps = taken(began, tap.times() | {"found": time.perf_counter()})
        print(f"found: {gateway.waiting()}, {load()}")
        print(table([steps]))


if __name__ == "__main__":
    main()
