"""A key of some sources: everything is answered as if there were no others.

Each request is made twice with the same key: of an instance that has another source, full of words
that nothing else has, and of one that has never had it. The answers must be equal, bytes and
headers, but for what the clock says. A test fails for an operation of the table without requests.
"""

import asyncio
import json

import pytest
from gateway_world import Index
from limited_world import CANARIES, KEY_OF_OTHER, OTHER, PATH, World, asked, clean
from report_world import record, report

from services.gateway.access.limited import LimitedLedger, LimitedLetters, LimitedSnapshots
from services.gateway.operations import OPERATIONS
from services.gateway.status.ledger_index import LedgerIndex
from services.validator.checks import SampleResult
from shared.domain.ids import doc_key


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
    "enter": (get("/enter"), get("/enter", once="x")),
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
    index.looks.watch.ledger = ledger
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
