"""An instance of two or three sources, asked with a key of two of them."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

from aiohttp.test_utils import TestClient, TestServer
from gateway_world import NOW
from memory_kv import MemoryShelf
from memory_results import MemoryResults, indexed
from report_world import record, report
from uploads_world import UploadWorld

from services.gateway.access.access import SCOPES
from services.gateway.access.bearer import Credentials
from services.gateway.access.keyring import Keyring
from services.gateway.app import build_app
from services.gateway.models import CheckView, SourceView
from services.gateway.status.status import Observation, PastFolder
from shared.batches.history import History
from shared.batches.members import OpenBatch
from shared.batches.reports import Validation
from shared.domain.events import Batch, Document
from shared.domain.ids import doc_key
from shared.domain.ordering import Reason
from shared.observe.progress import SourceHealth
from shared.ports import DeadLetter, Hold, Selection

OTHER, PATH = "zanzibar", "quokka/wombat.md"
KEY_OF_OTHER = doc_key(OTHER, PATH)
CANARIES = (OTHER, "quokka", "wombat", "numbat", KEY_OF_OTHER, "4321", "4,321", "/srv/z")
OWN = ("docs", "inbox")
AT = datetime.fromtimestamp(NOW, UTC)


class World:
    """An instance with the sources docs and inbox, and perhaps another one."""

    def __init__(self, *, other: bool) -> None:
        self.other, self.uploads = other, UploadWorld()
        self.index, self.results = self.uploads.index, MemoryResults()
        self.history = History(MemoryShelf())
        self.done: list[str] = []

    async def fill(self) -> None:
        index = self.index
        self.receipt = "-".join(map(str, await index.put("guide/a.md", ["tidal pools", "kelp"])))
        await index.put("b.md", ["kelp forests"])
        await index.put("copy.md", ["kelp forests"])
        await index.begin("odd.pdf", [], outcome="refused", reason=Reason("encrypted", "locked"))
        await index.put("odd.pdf", [], outcome="refused", reason=Reason("encrypted", "locked"))
        await index.begin("bad.md", ["barnacles"])
        await index.fail("bad.md")
        index.letters += [self.letter(1, "docs", "bad name")]
        await self.history.keep(report([record("guide/a.md")], id="b1"))
        self.results.put(indexed(1))
        if self.other:
            await self.fill_other()
        self.results.put(indexed(2))
        self.wire()

    async def fill_other(self) -> None:
        index = self.index
        texts = ["numbat kelp", "kelp wombat", "kelp forests"]
        self.index.stages[0] = SimpleNamespace(**self._stage(index.stages[0], waiting=4321))
        await index.put(PATH, texts, source=OTHER)
        await index.put("b.md", ["kelp forests"], source=OTHER)
        await index.begin("quokka/bad.md", ["numbat"], source=OTHER)
        await index.fail("quokka/bad.md", source=OTHER)
        await index.begin("quokka/late.md", ["numbat"], source=OTHER)
        index.letters += [self.letter(7, OTHER, "numbat")]
        other = report([record("quokka/z.md")], id="b1", after_s=50.0)
        batch = other.batch.model_copy(update={"source": OTHER})
        await self.history.keep(other.model_copy(update={"batch": batch}))
        alone = other.model_copy(update={"batch": batch.model_copy(update={"id": "zb"})})
        await self.history.keep(alone)
        verdict = Validation(kind="validate", at=AT, source="", generation="g", passed=True)
        await self.history.judge([verdict, verdict.model_copy(update={"source": OTHER})])
        told = indexed(3).model_dump()
        told["document"] |= {"source": OTHER, "path": PATH, "doc_key": KEY_OF_OTHER}
        told["batch"]["source"] = OTHER
        self.results.put(indexed(3).model_validate(told))

    def _stage(self, stage, **more):
        return {name: getattr(stage, name) for name in stage.__slots__} | more

    def letter(self, id, source, reason):
        about = Document(source=source, path="", doc_key=doc_key(source, "x"), changed_at=AT)
        return DeadLetter(
            id=id,
            stream="INTAKE",
            consumer="producer_accept",
            subject=f"documents.submitted.{source}",
            sequence=id,
            document=None if id == 1 else about,
            code="malformed",
            reason=reason,
            deliveries=1,
            at=AT,
        )

    def wire(self) -> None:
        index = self.index
        index.looks.observe = self.observe
        known = [("docs", "/home/me/docs"), *([(OTHER, "/srv/z")] if self.other else [])]
        index.queries.sources = tuple(SourceView(name=n, kind="folder", path=p) for n, p in known)
        index.queries.removals = self
        index.queries.reports = self.history
        index.queries.book = self
        index.queries.results = self.results
        index.search.declared = {"docs": {"lang": "keyword"}}
        if self.other:
            index.search.declared[OTHER] = {"quokkas": "keyword"}
        index.queries.explain = self.explain
        index.queries.check = self.check

    async def observe(self):
        health = {"docs": SourceHealth(problems={"p": "cannot be read"})}
        past = {"inbox": PastFolder(NOW, "/old", same_as=OTHER if self.other else "")}
        held = {"docs": 3}
        if self.other:
            health[OTHER] = SourceHealth(problems={"quokka/x": "numbat"})
            past["zanzibar-old"] = PastFolder(NOW, "/srv/z/old")
            held[OTHER] = 4321
        return Observation(
            at=NOW + 10,
            stages=tuple(self.index.stages),
            sources=health,
            held=sum(held.values()),
            held_of=held,
            past=past,
        )

    async def explain(self, source, path):
        exists = source == OTHER or path == "x"
        return Selection(exists, why=f"a rule of {source}" if exists else "")

    async def check(self):
        count = 4321 if self.other else 5
        return [
            CheckView(name="bus", level="ok", text="connected"),
            CheckView(name="store", level="ok", text=f"{count} rows"),
            CheckView(name="room", level="WARN", text=f"nearly full: INTAKE {count} %"),
            *([CheckView(name="failures", level="WARN", text="4,321")] if self.other else []),
        ]

    # OpenBatches

    async def open(self, source="", batch_id=""):
        given = [("docs", "opened"), *([(OTHER, "opened"), (OTHER, "zo")] if self.other else [])]
        return {
            f"{source}.{id}": OpenBatch(
                Batch(id=id, count=4321 if source == OTHER else 2, source=source, started_at=AT),
                {doc_key(source, "b.md"): 1},
            )
            for source, id in given
        }

    # Holds

    async def list(self):
        since = datetime(2026, 11, 21, 11, 0, tzinfo=UTC)
        held = [("docs", "gone.md"), *([(OTHER, PATH)] if self.other else [])]
        return [Hold(name, since, 3, 9, (path,), kept=False) for name, path in held]

    async def release(self, source):
        self.done.append(source)
        return 3

    async def keep(self, source):
        self.done.append(source)
        return 3

    async def forget(self, source):
        self.done.append(source)
        return 3


@asynccontextmanager
async def asked(*, other: bool) -> AsyncIterator[tuple[World, TestClient]]:
    world = World(other=other)
    await world.fill()
    keys = world.keys = Keyring(MemoryShelf())
    text, _ = await keys.create("limited", SCOPES, OWN, None)
    app = build_app(
        world.index.queries,
        world.index.commands,
        known=Credentials("o" * 40, keys),
        uploads=world.uploads.uploads,
        results=world.results,
    )
    headers = {"Authorization": f"Bearer {text}"}
    async with TestClient(TestServer(app), headers=headers) as client:
        yield world, client


def clean(text: str) -> str:
    """Without what the clock says, random ids, and scores.

    How rare a word is, is counted over the whole index: scores of keywords differ by it.
    """
    text = re.sub(r'"(score|normalised|adds)":[-0-9.e]+', '"score":0', text)
    text = re.sub(r'"(took_ms|oldest_pending_s)":[-0-9.e]+', '"took_ms":0', text)
    text = re.sub(r'"timings":{[^}]*}', lambda m: re.sub(r":[0-9.e-]+", ":0", m[0]), text)
    return re.sub(r'"request_id": ?"[0-9a-f]{32}"', '"request_id":""', text)
