"""Who looks on during a chaos run: a searcher that never tires, and one who sends things again."""

from __future__ import annotations

import asyncio
import random
import re
import uuid
from functools import partial
from typing import Any

import aiohttp
import nats
from chaos_author import PINNED, Author, Doc
from chaos_plan import Plan, Tally
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

VERSION = re.compile(r"v(\d{6})x(\d{6})")
REMEMBERED = 400
KILLER = b"faultkill"


async def _quiet(_: Exception) -> None:
    """The server is killed on purpose."""


async def connected(url: str) -> Client:
    """A client that waits for the server, for ever."""
    return await nats.connect(
        url, max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=_quiet
    )


class Searcher:
    """Asks for documents that are edited all the time and never deleted.

    Once one was found it must always be found, and never at an older version than before.
    """

    def __init__(self, base: str, author: Author, tally: Tally, seed: int) -> None:
        self._base, self._author, self._tally = base, author, tally
        self._chance = random.Random(f"searcher {seed}")
        self._seen: dict[str, int] = {}

    async def run(self) -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                docs = [d for p, d in list(self._author.docs.items()) if p.startswith(f"{PINNED}/")]
                if docs:
                    await self._ask_for(session, self._chance.choice(docs))
                await asyncio.sleep(0.02)

    async def _ask_for(self, session: aiohttp.ClientSession, doc: Doc) -> None:
        mode = self._chance.choice(["keyword", "hybrid"])
        texts = await ask(session, self._base, doc.always, mode)
        if texts is None:
            return
        self._tally.counts["questions"] += 1
        found = [m for _, text in texts for m in VERSION.finditer(text)]
        version = max((int(m[2]) for m in found if int(m[1]) == doc.number), default=0)
        before = self._seen.get(doc.always, 0)
        if before and not version:
            self._tally.counts["gaps"] += 1
            self._tally.wrong.append(f"gap ({mode}): {doc.always} was found at {before}, then not")
        elif version < before:
            self._tally.counts["stale"] += 1
            self._tally.wrong.append(f"{doc.always}: version {before} was found, then {version}")
        self._seen[doc.always] = max(before, version)


async def ask(
    session: aiohttp.ClientSession, base: str, query: str, mode: str
) -> list[tuple[str, str]] | None:
    """Path and text of every hit; None when nobody answers."""
    params = {"q": query, "mode": mode, "limit": "20", "group_by": "chunk"}
    try:
        timeout = aiohttp.ClientTimeout(total=10)
        async with session.get(f"{base}/api/v1/search", params=params, timeout=timeout) as answer:
            if answer.status != 200:
                return None
            hits: list[Any] = (await answer.json())["hits"]
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None
    return [(hit["document"]["path"], hit["chunk"]["text"]) for hit in hits]


class Echo:
    """Sends messages again at any later time, as a network or an impatient publisher does.

    Parts come back with another message id, so the streams take them. Changes come back as they
    were, with their expectation: a delayed copy of a publish, which DOCS has to refuse.
    """

    SUBJECTS = ("documents.enriched.>", "embeddings.ready.>", "documents.changed.>")

    def __init__(self, url: str, plan: Plan, tally: Tally) -> None:
        self._url, self._plan, self._tally = url, plan, tally
        self._chance = random.Random(f"echo {plan.seed}")
        self._heard: dict[str, list[Msg]] = {subject: [] for subject in self.SUBJECTS}

    async def run(self) -> None:
        client = await connected(self._url)
        try:
            for subject in self.SUBJECTS:
                await client.subscribe(subject, cb=partial(self._hear, subject))
            while True:
                await asyncio.sleep(self._chance.expovariate(self._plan.duplicates_per_s))
                if heard := self._heard[self._chance.choice(self.SUBJECTS)]:
                    await self._repeat(client, self._chance.choice(heard))
        finally:
            await client.close()

    async def _hear(self, subject: str, message: Msg) -> None:
        heard = self._heard[subject]
        if KILLER in message.data:  # each copy of it would cost the model its process, too
            return
        if len(heard) < REMEMBERED:
            heard.append(message)
        else:
            heard[self._chance.randrange(REMEMBERED)] = message

    async def _repeat(self, client: Client, message: Msg) -> None:
        headers = dict(message.headers or {})
        if not message.subject.startswith("documents.changed"):
            headers["Nats-Msg-Id"] = f"echo {uuid.uuid4()}"
        js = client.jetstream(timeout=5)
        try:
            answer = await js.publish(message.subject, message.data, headers=headers)
        except JetStreamError:
            self._tally.counts["copies refused"] += 1
        except (NatsError, TimeoutError):
            self._tally.counts["copies lost"] += 1
        else:
            self._tally.counts["copies refused" if answer.duplicate else "duplicates"] += 1
