"""Requests with `receipts=all`: one line of JSON for each document, in whatever order."""

import asyncio
import json
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from aiohttp import ClientPayloadError, ClientSession, FormData, web

from services.gateway.uploads import handlers
from services.host.http_server import LimitedRunner
from shared.domain.errors import StreamFull
from shared.domain.ids import doc_key

BULK = "/api/v1/sources/inbox/bulk?receipts=all"
FORM = "/api/v1/sources/inbox/documents?receipts=all"
TYPE = {"Content-Type": "application/x-ndjson"}
BATCH = {"id": "mine", "count": 2, "source": "inbox", "started_at": "2026-11-30T12:00:00Z"}


def lines(*said):
    return b"\n".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in said)


@asynccontextmanager
async def served(app):
    """Its address. A test server would cancel what is done for a client that goes away."""
    runner = LimitedRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    yield f"http://{host}:{port}"
    await runner.cleanup()


async def told(response):
    """The lines of an answer by number of the line, or by name of the file."""
    assert response.status == 200, await response.text()
    assert response.content_type == "application/x-ndjson"
    found = [json.loads(line) for line in (await response.text()).splitlines()]
    by = {one.get("line") or one.get("file"): one for one in found}
    assert len(by) == len(found)
    return by


async def test_each_line_has_its_receipt_or_why_it_was_refused_and_never_its_content(client):
    secret = "the secret of the lighthouse"
    said = lines(
        {"path": "a.md", "text": "one"},
        b"",
        {"path": "b.md", "titel": secret},
        {"path": "c.md", "ref": {"url": "file:///etc/passwd"}},
        {"path": "a.md", "op": "delete"},
        b'{"path": "d.md", "text": "' + secret.encode(),
    )
    response = await client.post(BULK, data=said, headers=TYPE)
    found = await told(response)

    assert {n: (one["path"], one["status"], one.get("code")) for n, one in found.items()} == {
        1: ("a.md", 202, None),
        3: ("b.md", 422, "invalid_request"),
        4: ("c.md", 422, "reference_not_allowed"),
        5: ("a.md", 202, None),
        6: ("", 422, "invalid_request"),
    }
    assert found[1]["receipt"].startswith(doc_key("inbox", "a.md"))
    assert found[1]["document"]["revision"] < found[5]["document"]["revision"]
    assert found[1]["batch"] == found[5]["batch"] != ""
    assert secret not in json.dumps(found)


async def test_more_refusals_than_a_summary_lists_are_all_told(client):
    response = await client.post(BULK, data=b"{}\n" * 1_500, headers=TYPE)

    assert list(await told(response)) == list(range(1, 1_501))


async def test_refused_lines_count_as_lines(client, world, monkeypatch):
    monkeypatch.setattr("services.gateway.uploads.many.MOST_DOCUMENTS", 3)
    response = await client.post(BULK, data=b"{}\n" * 4, headers=TYPE)

    assert (response.status, (await response.json())["code"]) == (413, "request_too_large")


async def test_after_a_full_stream_the_rest_is_told_to_be_not_sent(client, world):
    submit = world.intake.submit

    async def filling(source, body, **options):
        if len(world.intake.bodies) >= 2:
            raise StreamFull("INTAKE is full")
        return await submit(source, body, **options)

    world.intake.submit = filling
    key = {**TYPE, "Idempotency-Key": "k"}
    said = lines(*({"path": f"{n}", "text": "x"} for n in range(40)))
    first = await told(await client.post(BULK, data=said, headers=key))
    world.intake.submit = submit
    again = await told(await client.post(BULK, data=said, headers=key))

    full = [one for one in first.values() if one["status"] == 503]
    assert (len(full), {one["code"] for one in full}) == (38, {"stream_full"})
    assert any(one["detail"].startswith("not sent") for one in full)
    assert {one["status"] for one in again.values()} == {202}
    assert {one["batch"] for one in again.values()} == {first[1]["batch"]}
    assert again[1]["receipt"] == first[1]["receipt"]
    assert len(world.intake.bodies) == 40


async def test_a_stale_line_has_the_receipt_of_what_is_newer(client):
    said = ({"path": "a.md", "text": "x", "source_version": n} for n in (7, 3))
    found = await told(await client.post(BULK, data=lines(*said), headers=TYPE))

    stale = found[2]
    assert (stale["status"], stale["code"], stale["state"]) == (409, "stale_version", "stale")
    assert stale["receipt"] == found[1]["receipt"]


async def test_files_of_a_form_have_their_receipts(client, world):
    form = FormData(quote_fields=False)
    form.add_field("files", b"# Hi", filename="a.md")
    form.add_field("files", b"x", filename="../b.md")
    form.add_field("files", b"x", filename="c.md")
    meta = {"a.md": {"title": "A", "batch": BATCH}, "c.md": {"if_revision": 17}}
    form.add_field("meta", json.dumps(meta))
    found = await told(await client.post(FORM, data=form))

    assert {name: (one["status"], one.get("batch")) for name, one in found.items()} == {
        "a.md": (202, "mine"),
        "../b.md": (422, None),
        "c.md": (412, None),
    }
    assert found["c.md"]["code"] == "revision_changed"


async def test_requests_may_share_a_batch_that_their_lines_name(client, world):
    for name in ("a.md", "b.md"):
        said = lines({"path": name, "text": "x", "batch": {**BATCH, "source": "wiki"}})
        found = await told(await client.post(BULK, data=said, headers=TYPE))
        assert found[1]["batch"] == "mine"

    ((_, open_batch),) = (await world.door.batches.open()).items()
    assert open_batch.whole
    assert (open_batch.batch.id, open_batch.batch.source) == ("mine", "inbox")


@pytest.mark.parametrize("anew", [True, False])
async def test_a_line_with_its_own_batch_is_compared_by_all_that_it_says(client, world, anew):
    key = {**TYPE, "Idempotency-Key": "k"}
    receipts = []
    for text in ("one", "one", "two"):
        said = lines({"path": "a.md", "text": text, "batch": BATCH})
        found = await told(await client.post(BULK, data=said, headers=key))
        receipts.append(found[1]["receipt"])
        if anew:
            world.uploads._known.clear()

    assert receipts[0] == receipts[1] != receipts[2]
    assert await world.content("a.md") == b"two"


async def test_what_was_sent_is_taken_though_its_client_is_gone(world):
    gone = asyncio.Event()
    submit = world.intake.submit

    async def waiting(source, body, **options):
        await gone.wait()
        return await submit(source, body, **options)

    world.intake.submit = waiting
    said = lines(*({"path": f"{n}", "text": "x"} for n in range(50)))
    async with served(world.app()) as url, ClientSession() as session:
        response = await session.post(f"{url}{BULK}", data=said, headers=TYPE)
        response.close()
        gone.set()
        while len(world.intake.bodies) < 50:
            await asyncio.sleep(0)


async def test_a_client_that_takes_too_little_is_told_no_more_and_all_is_sent(world, monkeypatch):
    now, told_lines = 0.0, 0
    write = web.StreamResponse.write

    async def slow(response, data):
        nonlocal now, told_lines
        now += 1.0
        await asyncio.sleep(0)  # where the time that is left is over, this never returns
        await asyncio.sleep(0)
        told_lines += 1
        await write(response, data)

    monkeypatch.setattr(web.StreamResponse, "write", slow)
    clock = SimpleNamespace(monotonic=lambda: now)
    monkeypatch.setattr("services.gateway.uploads.answer_lines.time", clock)
    said = lines(*({"path": f"{n}", "text": "x"} for n in range(50)))
    app = world.app()
    async with served(app) as url, ClientSession() as session:
        response = await session.post(f"{url}{BULK}", data=said, headers=TYPE)
        with pytest.raises(ClientPayloadError):
            await response.read()
        while len(world.intake.bodies) < 50 or app[handlers.SLOTS]._value < handlers.BODIES_AT_ONCE:
            await asyncio.sleep(0)
    assert 15 <= told_lines < 20


async def test_a_fault_in_the_middle_breaks_the_answer_off(client, world, monkeypatch):
    async def faulty(*_):
        raise RuntimeError("a fault")

    monkeypatch.setattr(world.uploads.__class__, "once", faulty)
    response = await client.post(BULK, data=lines({"path": "a", "text": "x"}), headers=TYPE)

    with pytest.raises(Exception, match="payload"):
        await response.read()


async def test_another_word_than_all_is_refused(client):
    response = await client.post(BULK.replace("=all", "=some"), data=b"{}", headers=TYPE)

    assert (response.status, (await response.json())["code"]) == (422, "invalid_request")
