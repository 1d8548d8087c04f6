"""A key of some sources: everything is answered as if there were no others.

Each request is made twice with the same key: of an instance that has another source, full of words
that nothing else has, and of one that has never had it. The answers must be equal, bytes and
headers, but for what the clock says. A test fails for an operation of the table without requests.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from aiohttp.test_utils import TestClient, TestServer
from gateway_world import NOW, Index
from memory_kv import MemoryShelf
from memory_results import MemoryResults, indexed
from report_world import record, report
from uploads_world import UploadWorld

from services.gateway.access.access import SCOPES
from services.gateway.access.bearer import Credentials
from services.gateway.access.keyring import Keyring
from services.gateway.access.limited import LimitedLedger, LimitedLetters, LimitedSnapshots
from services.gateway.app import build_app
from services.gateway.models import CheckView, SourceView
from services.gateway.operations import OPERATIONS
from services.gateway.status.ledger_index import LedgerIndex
from services.gateway.status.status import Observation, PastFolder
from services.validator.checks import SampleResult
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
    keys = Keyring(MemoryShelf())
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


def get(path, **fields):
    return "GET", path, {"params": fields}


def post(path, **fields):
    return "POST", path, {"json": fields}


NAMES = (f"{OTHER}/{PATH}", PATH, KEY_OF_OTHER, OTHER, "quokka/wombat", f"{OTHER}/nothing.md")
RECEIPTS = tuple(f"{KEY_OF_OTHER}-{n}" for n in (1, 7, 9, 10**18))
V = "/api/v1"
FORM = b'--z\r\nContent-Disposition: form-data; name="f"; filename="a.md"\r\n\r\nx\r\n--z--\r\n'
SEARCHES = tuple(
    get(f"{V}/search", q=q, mode=mode, facets="source,folder", explain="1", **more)
    for mode in ("keyword", "vector", "hybrid")
    for q, more in (
        ("kelp", {}),
        ("numbat", {}),
        ('"kelp wombat"', {}),
        ("kelp -forests", {"group_by": "chunk"}),
        ("kelp", {"group_by": "content"}),
        ("kelp", {"source": OTHER}),
        ("kelp", {"source": f"docs,{OTHER}"}),
        ("kelp", {"source": "zanzibat"}),
        ("kelp", {"filter": f"source:{OTHER}"}),
        ("kelp", {"filter": f"-source:{OTHER} path:quokka/"}),
        ("kelp", {"filter": "quokkas:1"}),
        ("kelp", {"filter": "quokka:1"}),
        ("kelp", {"filter": "lang:en or source:zanzibar"}),
        ("kelp", {"after": RECEIPTS[1], "wait": "0"}),
    )
)
ASKED = {
    "search": (*SEARCHES, post(f"{V}/search", q="kelp", source=[OTHER], mode="keyword")),
    "documents": (
        get(f"{V}/documents"),
        get(f"{V}/documents", limit="2"),
        get(f"{V}/documents", source=OTHER),
        get(f"{V}/documents", prefix="quokka"),
        get(f"{V}/documents", state="failed,working,queued"),
    ),
    "document": tuple(get(f"{V}/documents/{name}") for name in (*NAMES, "zanzibat/b.md", "b.md")),
    "similar": (
        get(f"{V}/documents/guide/a.md/similar", explain="1"),
        get(f"{V}/documents/guide/a.md/similar", copies="1", filter=f"source:{OTHER}"),
        get(f"{V}/documents/guide/a.md/similar", source=OTHER),
        *(get(f"{V}/documents/{name}/similar") for name in NAMES),
    ),
    "history": tuple(
        get(f"{V}/documents/{name}/history") for name in (*NAMES, "b.md", "guide/a.md")
    ),
    "diff": tuple(get(f"{V}/documents/{name}/diff") for name in (*NAMES, "b.md")),
    "left_out": tuple(get(f"{V}/left-out", name=n, file="/srv/z/a") for n in (*NAMES, "docs/x")),
    "receipt": tuple(get(f"{V}/receipts/{one}", wait="0") for one in RECEIPTS),
    "failures": (
        get(f"{V}/failures"),
        get(f"{V}/failures", source=OTHER),
        get(f"{V}/failures", state="failed"),
    ),
    "failure": tuple(
        get(f"{V}/failures/{one}")
        for one in (doc_key(OTHER, "quokka/bad.md"), f"{OTHER}/quokka/bad.md", "d_7", "d_1")
    ),
    "retry": (
        post(f"{V}/failures/retry", all=True, dry_run=True),
        post(f"{V}/failures/retry", source=OTHER),
        post(f"{V}/failures/retry", ids=["quokka/bad.md"]),
        post(f"{V}/failures/retry", ids=[doc_key(OTHER, "quokka/bad.md")]),
    ),
    "dismiss": (
        post(f"{V}/failures/dismiss", source=OTHER),
        post(f"{V}/failures/drop", ids=["d_7"]),
        post(f"{V}/failures/drop", ids=[f"{OTHER}/quokka/bad.md"], lenient=True),
    ),
    "sources": (get(f"{V}/sources"),),
    "source": tuple(get(f"{V}/sources/{name}") for name in (OTHER, "zanzibat", "docs", "inbox")),
    "removals": (get(f"{V}/removals"), get(f"{V}/holds")),
    "approve": (
        post(f"{V}/removals/{OTHER}/approve"),
        post(f"{V}/removals/zanzibat/approve"),
        post(f"{V}/holds/release", source=OTHER),
    ),
    "reject": (post(f"{V}/removals/{OTHER}/reject"), post(f"{V}/holds/keep", source=OTHER)),
    "forget": (
        post(f"{V}/sources/{OTHER}/forget"),
        post(f"{V}/sources/zanzibar-old/forget"),
        post(f"{V}/sources/forget", source=OTHER),
    ),
    "batches": (
        get(f"{V}/batches"),
        get(f"{V}/batches", limit="1"),
        get(f"{V}/batches", source=OTHER),
    ),
    "report": tuple(
        get(f"{V}/batches/{batch}/report", **more)
        for batch in ("b1", "zb", "last")
        for more in ({}, {"source": OTHER}, {"format": "html"})
    ),
    "batch": tuple(
        get(f"{V}/batches/{batch}", **more)
        for batch in ("b1", "zb", "last", "opened", "zo")
        for more in ({}, {"source": OTHER})
    ),
    "reports": (get(f"{V}/reports"), get(f"{V}/reports", source=OTHER)),
    "validations": (get(f"{V}/validations"), get(f"{V}/validations", source=OTHER)),
    "status": (get(f"{V}/status"),),
    "checks": (get(f"{V}/checks"), get(f"{V}/checks", deep="1")),
    "version": (get(f"{V}/version"),),
    "openapi": (get(f"{V}/openapi.json"),),
    "livez": (get("/livez"),),
    "readyz": (get("/readyz"),),
    "problem": (get("/problems/no_key"),),
    "put_document": (
        ("PUT", f"{V}/sources/{OTHER}/documents/{PATH}", {"data": b"x"}),
        ("PUT", f"{V}/sources/zanzibat/documents/a.md", {"data": b"x"}),
    ),
    "delete_document": (("DELETE", f"{V}/sources/{OTHER}/documents/{PATH}", {}),),
    "upload_documents": (
        (
            "POST",
            f"{V}/sources/{OTHER}/documents",
            {"data": FORM, "headers": {"Content-Type": "multipart/form-data; boundary=z"}},
        ),
    ),
    "bulk": (
        (
            "POST",
            f"{V}/sources/{OTHER}/bulk",
            {"data": b'{"path":"a"}\n', "headers": {"Content-Type": "application/x-ndjson"}},
        ),
    ),
    "delete_documents": (
        post(f"{V}/sources/{OTHER}/delete", prefix="quokka"),
        post(f"{V}/sources/{OTHER}/delete", paths=[PATH], dry_run=True),
    ),
    "validate": (post(f"{V}/validate"), post(f"{V}/validate", batch="zb", source=OTHER)),
    "sweep": (post(f"{V}/sweep"), post(f"{V}/sweep", dry_run=True)),
    "keys": (get(f"{V}/keys"),),
    "create_key": (post(f"{V}/keys", scopes=["read"]),),
    "revoke_key": (("DELETE", f"{V}/keys/{'0' * 12}", {}),),
    "browser_link": (post(f"{V}/browser-links"),),
    "webhooks": (get(f"{V}/webhooks"),),
    "retry_webhook": (post(f"{V}/webhooks/{OTHER}/retry"),),
    "enter": (get("/"), get("/", once="x")),
    "generate": (post("/api/tasks/generate-embeddings"),),
}
LISTENING = frozenset({"events"})
"""Operations whose answer has no end; a test of their own asks them."""
WHOLE = frozenset(name for name, row in OPERATIONS.items() if not row.of_sources)
ECHOES = (
    "document",
    "similar",
    "history",
    "diff",
    "left_out",
    "failure",
    "source",
    "search",
    "retry",
    "dismiss",
)


def test_every_operation_of_the_table_is_asked():
    assert OPERATIONS.keys() == ASKED.keys() | LISTENING


def clean(text: str) -> str:
    """Without what the clock says, random ids, and scores.

    How rare a word is, is counted over the whole index: scores of keywords differ by it.
    """
    text = re.sub(r'"(score|normalised|adds)":[-0-9.e]+', '"score":0', text)
    text = re.sub(r'"(took_ms|oldest_pending_s)":[-0-9.e]+', '"took_ms":0', text)
    text = re.sub(r'"timings":{[^}]*}', lambda m: re.sub(r":[0-9.e-]+", ":0", m[0]), text)
    return re.sub(r'"request_id": ?"[0-9a-f]{32}"', '"request_id":""', text)


async def told(client, request):
    method, path, more = request
    response = await client.request(method, path, **more)
    volatile = ("Date", "Request-Id", "Content-Length")
    headers = {k: v for k, v in response.headers.items() if k not in volatile}
    return response.status, headers, clean(await response.text())


def spoken(request) -> str:
    """All that the client itself has said."""
    return json.dumps(request, default=str)


@pytest.mark.parametrize("name", sorted(ASKED))
async def test_other_sources_leave_no_trace_in_an_answer(name):
    async with asked(other=True) as (world, client), asked(other=False) as (_, alone):
        for request in ASKED[name]:
            found, expected = await told(client, request), await told(alone, request)

            assert found == expected, request
            assert found[0] < 500, request
            own_words = spoken(request)
            for canary in CANARIES:
                if canary not in own_words:
                    assert canary not in f"{found[1]}{found[2]}", request
    assert OTHER not in world.done


@pytest.mark.parametrize("name", sorted(ASKED))
async def test_the_owner_s_answers_show_that_the_canaries_sing(name):
    """The same requests with the owner's key find the other source: so the test above can fail."""
    if name in WHOLE or name in ("openapi", "livez", "readyz", "problem", "version", "enter"):
        pytest.skip("it is not about documents")
    owner = {"Authorization": f"Bearer {'o' * 40}"}
    async with asked(other=True) as (_, client), asked(other=False) as (_, alone):
        differ = False
        for method, path, more in ASKED[name]:
            headers = more.get("headers", {}) | owner
            both = [
                await told(one, (method, path, {**more, "headers": headers}))
                for one in (client, alone)
            ]
            differ |= both[0] != both[1]
        if OPERATIONS[name].scope != "write":
            assert differ


@pytest.mark.parametrize("name", sorted(WHOLE))
async def test_what_is_about_the_whole_instance_is_refused_with_the_reason(name):
    async with asked(other=True) as (_, client):
        for request in ASKED[name]:
            status, _, text = await told(client, request)

            assert status == 403
            assert "whole instance" in json.loads(text)["detail"]


async def test_a_listener_hears_its_own_sources_only():
    owner = {"Authorization": f"Bearer {'o' * 40}"}
    heard = {}
    async with asked(other=True) as (world, client):
        for who, headers in (("limited", {}), ("owner", owner)):
            url = f"{V}/events?after=0"
            async with client.get(url, headers=headers) as response:
                lines = []
                while b"2.md" not in b"".join(lines):
                    lines.append(await asyncio.wait_for(response.content.readline(), 30))
                heard[who] = b"".join(lines).decode()
        del world

    assert OTHER in heard["owner"]
    assert not any(canary in heard["limited"] for canary in CANARIES)
    assert "1.md" in heard["limited"]


async def test_status_counts_its_own_documents_only():
    async with asked(other=True) as (_, client):
        body = await (await client.get(f"{V}/status")).json()

    assert body["documents"]["searchable"] == 3
    assert body["documents"]["held"] == 3
    assert [source["name"] for source in body["sources"]] == ["docs"]
    assert (body["stages"], body["watermark"], body["in_step"]) == ([], None, False)


async def test_own_sources_are_written_and_others_are_not():
    async with asked(other=True) as (world, client):
        own = await client.put(f"{V}/sources/inbox/documents/a.md", data=b"mine")
        other = await client.put(f"{V}/sources/{OTHER}/documents/a.md", data=b"mine")

    assert (own.status, other.status) == (202, 403)
    assert [body["path"] for body in world.uploads.intake.bodies] == ["a.md"]


async def test_samples_of_the_whole_index_are_not_in_the_reports_of_a_source():
    async with asked(other=True) as (world, client):
        sample = SampleResult("numbat?", f"{OTHER}/{PATH}", None)
        await world.history.keep(report([record("a.md")], id="b2", after_s=60, samples=[sample]))
        whole = await client.get(
            f"{V}/batches/b2/report", headers={"Authorization": f"Bearer {'o' * 40}"}
        )
        told_whole = await whole.text()
        said = [
            await (await client.get(f"{V}/{path}")).text()
            for path in ("batches/b2/report", "batches/b2/report?format=html", "batches", "reports")
        ]

    assert OTHER in told_whole
    assert not any(canary in text for canary in CANARIES for text in said)
    assert json.loads(said[0])["validation_passed"] is True
    assert json.loads(said[0])["checked"]["samples"] == 0


# -- what the time of an answer tells


class CountedLedger:
    """Notes the keys that are read."""

    def __init__(self, whole):
        self.whole, self.read = whole, []

    async def get(self, doc_key):
        self.read.append(doc_key)
        return await self.whole.get(doc_key)

    async def get_many(self, doc_keys):
        self.read += doc_keys
        return await self.whole.get_many(doc_keys)


async def test_the_record_of_another_source_is_not_read():
    index = Index()
    own, _ = await index.put("a.md", ["kelp"])
    await index.put(PATH, ["numbat"], source=OTHER)
    await index.looks.watch.current()
    unknown, ledger = doc_key("docs", "unknown"), CountedLedger(index.ledger)
    limited = LimitedLedger(ledger, index.looks.watch, frozenset({"docs"}))

    one_by_one = [await limited.get(key) for key in (own, KEY_OF_OTHER, unknown)]
    together = await limited.get_many([own, KEY_OF_OTHER, unknown])

    assert [entry is not None for entry in one_by_one] == [True, False, False]
    assert list(together) == [own]
    assert KEY_OF_OTHER not in ledger.read
    assert len(ledger.read) == 6  # as many for a document of others as for one of nobody


async def test_a_record_that_the_index_does_not_know_yet_is_still_not_shown():
    index = Index()
    await index.put(PATH, ["numbat"], source=OTHER)
    own, _ = await index.put("a.md", ["kelp"])
    limited = LimitedLedger(index.ledger, index.looks.watch, frozenset({"docs"}))

    assert await limited.get(KEY_OF_OTHER) is None
    assert await limited.get(own)
    assert list(await limited.get_many([own, KEY_OF_OTHER])) == [own]


async def test_requests_of_one_snapshot_are_counted_once(monkeypatch):
    index, counted = Index(), []
    await index.put("a.md", ["kelp"])
    board = LedgerIndex.board
    monkeypatch.setattr(
        LedgerIndex, "board", lambda self, now: counted.append(self._only) or board(self, now)
    )
    looks = index.looks
    await looks.latest()
    monkeypatch.setattr(looks, "latest", async_of(looks._last))
    views = [LimitedSnapshots(looks, one) for one in ({"docs"}, {"docs"}, {"inbox"})]
    seen = [await view.latest() for view in views for _ in range(3)]

    assert counted == [None, {"docs"}, {"inbox"}]
    assert [one.board.documents for one in seen] == [{"searchable": 1}] * 6 + [{}] * 3


def async_of(value):
    async def get():
        return value

    return get


async def test_letters_of_others_do_not_use_up_the_limit():
    world = World(other=True)
    letters = [world.letter(n, OTHER, "numbat") for n in range(2, 1003)]
    world.index.letters = [*letters, world.letter(1, "docs", "bad name")]
    limited = LimitedLetters(world.index, frozenset({"docs"}))

    assert [letter.id for letter in await limited.list(limit=1000)] == [1]
