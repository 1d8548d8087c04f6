"""Reading what a chaos run left: streams, ledger, table, search. The only part that does I/O."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from pathlib import Path

import aiohttp
import index_file
from chaos_author import Author
from chaos_judge import Scene, StoredRow, Told
from chaos_plan import Tally
from chaos_witness import ask, connected
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from shared.bus.delivery.dead_letters import letters
from shared.bus.jetstream.change_log import JetChangeLog
from shared.bus.jetstream.ledger import KvLedger
from shared.domain.errors import InstepError
from shared.domain.ordering import Record

BUSY = ("INTAKE", "DOCS", "CHUNKS", "VECTORS", "RESULTS", "DLQ")
ASKED = 300
"""Words of documents that the judge searches for: so many that must be found, and so many not."""


class Watcher:
    """Reads the streams of a run, from the start on."""

    def __init__(self, url: str, data: Path, generation: str) -> None:
        self._url, self._data = url, data
        self.generation = generation
        self.moments: dict[int, str] = {}
        self.client: Client

    async def open(self) -> None:
        self.client = await connected(self._url)
        self.js = self.client.jetstream(timeout=10)
        self.ledger = KvLedger(self.js, self.generation)
        self.changes = JetChangeLog(self.js)

    async def close(self) -> None:
        await self.client.close()

    async def note_moments(self) -> None:
        """Remember which sequences DOCS has given to which documents; it forgets them soon."""
        while True:
            with contextlib.suppress(InstepError, NatsError, JetStreamError, TimeoutError):
                self.moments |= {seq: key for key, seq in (await self.newest()).items()}
            await asyncio.sleep(10)

    async def newest(self) -> dict[str, int]:
        return {key: seq async for _, key, seq in self.changes.sequences()}

    async def records(self) -> dict[str, Record]:
        await self.ledger.open()
        return {key: record async for key, record in self.ledger.entries()}

    async def busy(self) -> int:
        """Messages that somebody has still to handle."""
        waiting = 0
        for stream in BUSY:
            for info in await self.js.consumers_info(stream):
                if info.config.durable_name:  # others belong to onlookers
                    waiting += (info.num_pending or 0) + (info.num_ack_pending or 0)
        return waiting

    async def scene(self, author: Author) -> Scene:
        found = await letters(self.js, limit=100_000)
        dead = [(one.document.path if one.document else one.subject, one.code) for one in found]
        newest = await self.newest()
        return Scene(
            author=author,
            rows=await self._rows(),
            records=await self.records(),
            newest=newest,
            told=await self._told(),
            dead=dead,
            moments=self.moments | {seq: key for key, seq in newest.items()},
        )

    async def _rows(self) -> list[StoredRow]:
        hits = await asyncio.to_thread(index_file.rows, self._data, self.generation)
        return [StoredRow(h.id, h.doc_key, h.path, tuple(h.heading), h.text) for h in hits]

    async def _told(self) -> list[Told]:
        subject = f"documents.indexed.{self.generation}.*"
        inbox = await self.js.subscribe(subject, stream="RESULTS", ordered_consumer=True)
        told: list[Told] = []
        with contextlib.suppress(TimeoutError):
            while True:
                message = await inbox.next_msg(timeout=5)
                event = json.loads(message.data)
                document = event["document"]
                told.append(
                    Told(
                        document["doc_key"],
                        document["path"],
                        document["revision"],
                        event["vector_count"],
                    )
                )
                if message.metadata.num_pending == 0:
                    break
        await inbox.unsubscribe()
        return told


async def check_search(base: str, author: Author, tally: Tally, seed: int) -> None:
    """What a person finds: the newest version of every document, and no older one."""
    chance = random.Random(f"search {seed}")
    healthy = sorted(author.healthy.items())
    asked = chance.sample(healthy, min(ASKED, len(healthy)))
    old = chance.sample(author.gone, min(ASKED, len(author.gone)))
    async with aiohttp.ClientSession() as session:
        for path, doc in asked:
            hits = await _answered(session, base, doc.word)
            if {hit for hit, _ in hits or ()} != {path}:
                tally.counts["wrong answers"] += 1
                tally.wrong.append(f"{doc.word} of {path} finds {hits and hits[:2]}")
        for word in old:
            hits = await _answered(session, base, word)
            if hits != []:
                tally.counts["wrong answers"] += 1
                tally.wrong.append(f"{word}, which is gone, finds {hits and hits[:2]}")


async def _answered(
    session: aiohttp.ClientSession, base: str, word: str
) -> list[tuple[str, str]] | None:
    """What is found; faults of the run may need a second question."""
    for _ in range(10):
        hits = await ask(session, base, word, "keyword")
        if hits is not None:
            return hits
        await asyncio.sleep(0.5)
    return None
