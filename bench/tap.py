"""Where the time of one document goes between the stages, heard on the bus."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Sequence
from typing import Final

import nats
from nats.aio.msg import Msg

STEPS: Final = (
    ("changed", "producer: from the save to DOCS"),
    ("enricher", "waits for the enricher"),
    ("pending", "enricher: cut, plan, ledger"),
    ("enriched", "enricher: publish the part"),
    ("embedder", "waits for the embedder"),
    ("ready", "embedder: encode, publish"),
    ("indexer", "waits for the indexer"),
    ("written", "indexer: upsert, ledger"),
    ("indexed", "indexer: confirm, announce"),
    ("settled", "indexer: settle"),
    ("found", "gateway: found by a search"),
)
"""What is heard, in order, and what was going on until then."""
PUBLISHED: Final = {
    "documents.changed": ("changed",),
    "documents.enriched": ("enriched",),
    "embeddings.ready": ("ready",),
    "documents.indexed": ("indexed",),
    "$KV": ("pending", "written", "settled"),
}


class Tap:
    """Hears what is published about documents, and when it is delivered. Times of perf_counter."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._key = b""
        self._heard: dict[str, float] = {}
        self._on, self._done = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()), daemon=True)

    def __enter__(self) -> Tap:
        self._thread.start()
        self._on.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(10)

    def follow(self, doc_key: str) -> None:
        """From now on this document, which nothing else is going on about."""
        self._key, self._heard = doc_key.encode(), {}

    def times(self) -> dict[str, float]:
        return dict(self._heard)

    async def _listen(self) -> None:
        bus = await nats.connect(self._url, pending_size=64 * 2**20)
        for subject in ("documents.>", "embeddings.>", "$KV.*.*"):
            await bus.subscribe(subject, cb=self._published, pending_msgs_limit=0)
        await bus.subscribe("*.*", cb=self._delivered, pending_msgs_limit=0)
        await bus.flush()  # its PING goes ahead of what waits to be sent
        await bus.flush()
        self._on.set()
        while not self._done.is_set():
            await asyncio.sleep(0.1)
        await bus.close()

    async def _published(self, message: Msg) -> None:
        if not self._key or not self._is_about(message):
            return
        is_late = "changed" not in self._heard  # of the edit before
        if is_late and not message.subject.startswith("documents.changed."):
            return
        kind = ".".join(message.subject.split(".")[: 1 if message.subject[0] == "$" else 2])
        for step in PUBLISHED.get(kind, ()):
            if step not in self._heard:
                self._heard[step] = time.perf_counter()
                return

    async def _delivered(self, message: Msg) -> None:
        if not message.reply.startswith("$JS.ACK.") or not self._key:
            return
        consumer = message.reply.split(".")[3 if message.reply.count(".") == 8 else 5]
        step = consumer.partition("_")[0]
        if step in self._heard or not self._is_about(message):
            return
        if "bulk" in consumer and step == "enricher":  # it leaves what is express alone
            return
        self._heard[step] = time.perf_counter()

    def _is_about(self, message: Msg) -> bool:
        return self._key.decode() in message.subject or self._key in message.data


def taken(began: float, times: dict[str, float]) -> dict[str, float]:
    """Seconds by step; one that was not heard counts to the next."""
    found: dict[str, float] = {}
    for step, _ in STEPS:
        if step in times:
            found[step] = max(0.0, times[step] - began)
            began = max(began, times[step])
    return found


def table(edits: Sequence[dict[str, float]]) -> str:
    """Median and longest of each step, and the steps of the three longest edits, in ms."""
    worst = sorted(edits, key=lambda steps: sum(steps.values()), reverse=True)[:3]
    lines = [f"{'':34}{'p50':>7}{'max':>7}   {'the longest edits, ms':>21}"]
    for step, what in (*STEPS, ("", "whole")):
        of = [e.get(step, 0.0) if step else sum(e.values()) for e in (*edits, *worst)]
        all_of, worst_of = of[: len(edits)], of[len(edits) :]
        numbers = [statistics.median(all_of), max(all_of)]
        shown = "".join(f"{1000 * n:7.0f}" for n in numbers)
        lines.append(f"{what:34}{shown}   {''.join(f'{1000 * n:7.0f}' for n in worst_of)}")
    return "\n".join(lines)
