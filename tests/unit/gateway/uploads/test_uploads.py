"""Documents come in over HTTP, one by one: content, conditions, keys and refusals."""

import asyncio
import gzip
import io
import json

import pytest
from uploads_world import LIMIT
from yarl import URL

from shared.domain.errors import BusUnavailable, ConfigurationError, StreamFull
from shared.domain.ids import doc_key
from shared.domain.submissions import PIECE_BYTES
from shared.ports import Submitted

A = "/api/v1/sources/inbox/documents/a.md"
FIELDS = {"Content-Type": "application/vnd.instep.submission+json"}


async def problem(response, status, code):
    body = await response.json()
    assert (response.status, body["code"]) == (status, code), body
    assert response.content_type == "application/problem+json"
    return body


async def test_the_body_is_the_document_and_the_receipt_the_answer(client, world):
    response = await client.put("/api/v1/sources/inbox/documents/g/a%20%C3%BC.md", data=b"# Hi")
    body = await response.json()

    key = doc_key("inbox", "g/a ü.md")
    document = body["document"]
    assert response.status == 202
    assert (document["source"], document["path"], document["doc_key"]) == ("inbox", "g/a ü.md", key)
    assert body["receipt"] == f"{key}-{document['revision']}"
    assert (body["state"], body["final"]) == ("queued", False)
    assert response.headers["Location"] == f"/api/v1/receipts/{body['receipt']}"
    assert response.headers["ETag"] == f'"{document["revision"]}"'
    assert await world.content("g/a ü.md") == b"# Hi"


async def test_json_is_a_document_unless_its_type_says_that_it_is_a_submission(client, world):
    said = json.dumps({"text": "words", "title": "T", "metadata": {"k": 1}})

    for kind in ("application/json", "application/octet-stream", "text/plain"):
        await client.put(A, data=said, headers={"Content-Type": kind})
        assert await world.content("a.md") == said.encode()
    response = await client.put(A, data=said, headers=FIELDS)

    assert response.status == 202
    assert await world.content("a.md") == b"words"
    assert (world.intake.bodies[-1]["title"], world.intake.bodies[-1]["metadata"]) == (
        "T",
        {"k": 1},
    )


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("application/pdf", "application/pdf"),
        ("text/html; charset=latin-1", "text/html; charset=latin-1"),
        ("application/octet-stream", None),
        ("application/x-www-form-urlencoded", None),
        ("text/plain", None),
    ],
)
async def test_the_type_is_told_where_the_client_means_it(client, world, kind, told):
    await client.put(A, data=b"x", headers={"Content-Type": kind})

    assert world.intake.bodies[-1].get("media_type") == told


@pytest.mark.parametrize("size", [PIECE_BYTES - 1, PIECE_BYTES, 2 * PIECE_BYTES + 7])
async def test_a_large_document_goes_in_pieces_and_arrives_whole(client, world, size):
    data = bytes(n * n % 251 for n in range(1_000)) * (size // 1_000 + 1)

    response = await client.put(A, data=io.BytesIO(data[:size]))

    assert response.status == 202, await response.text()
    assert await world.content("a.md") == data[:size]
    assert world.ops["piece"] == (size // PIECE_BYTES + (size % PIECE_BYTES > 0)) * (
        size >= PIECE_BYTES
    )


async def test_a_text_of_control_characters_fits_its_message(client, world):
    data = b"\x01" * (PIECE_BYTES - 1)

    assert (await client.put(A, data=data)).status == 202
    assert await world.content("a.md") == data


async def test_a_document_above_the_limit_of_its_source_is_refused_with_the_limit(client, world):
    body = await problem(
        await client.put(A, data=io.BytesIO(b"x" * (LIMIT + 1))), 413, "document_too_large"
    )

    assert f"{LIMIT:,} bytes" in body["detail"]
    assert world.ops["upsert"] == 0


async def test_a_deletion_is_accepted_too(client, world):
    await client.put(A, data=b"x")
    response = await client.delete(A)

    assert response.status == 202
    newest = await world.index.changes.newest("inbox", doc_key("inbox", "a.md"))
    assert newest.change.op == "deleted"


async def test_a_wait_ends_with_the_final_receipt(client, world, monkeypatch):
    answered = asyncio.Event()
    receipt = world.index.queries.receipt

    async def settled(request):
        assert request.wait == 7
        key, revision = await world.index.put("b.md", ["zebra"])
        answered.set()
        return await receipt(request.model_copy(update={"receipt": f"{key}-{revision}"}))

    monkeypatch.setattr(world.index.queries, "receipt", settled)
    response = await client.put(A + "?wait=7", data=b"x")

    assert response.status == 200
    assert (await response.json())["outcome"] == "inserted"
    assert answered.is_set()


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("%2e%2e/a.md", "invalid_path"),
        ("a/%2e%2e/b.md", "invalid_path"),
        ("%2Fa.md", "invalid_path"),
        ("a%00.md", "invalid_path"),
        ("x" * 1_025, "invalid_path"),
        ("a//b.md", "invalid_path"),
    ],
)
async def test_a_path_that_is_none_is_refused(client, world, path, code):
    address = URL(f"/api/v1/sources/inbox/documents/{path}", encoded=True)
    for method in ("PUT", "DELETE"):
        await problem(await client.request(method, address, data=b"x"), 422, code)
    assert world.intake.bodies == []


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        (b"{", 422, "invalid_request"),
        (b"[]", 422, "invalid_request"),
        (b"\xff", 422, "invalid_request"),
        (b'{"titel": "x", "text": "y"}', 422, "invalid_request"),
        (b'{"path": "b.md", "text": "y"}', 422, "invalid_request"),
        (b'{"pieces": []}', 422, "invalid_request"),
        (b'{"op": "delete"}', 422, "invalid_request"),
        (b'{"text": "x", "data_base64": "eA=="}', 422, "invalid_request"),
        (b'{"text": "\\ud800"}', 422, "invalid_request"),
        (b'{"text": "x", "static_score": NaN}', 422, "invalid_request"),
        (b'{"ref": {"url": "file:///etc/passwd"}}', 422, "reference_not_allowed"),
        (json.dumps({str(n): n for n in range(50_000)}).encode(), 422, "invalid_request"),
        (b'{"text": "' + b"x" * 1_100_000 + b'"}', 413, "request_too_large"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_fields_that_fit_no_submission_are_refused(client, world, said, status, code):
    body = await problem(await client.put(A, data=io.BytesIO(said), headers=FIELDS), status, code)

    assert world.index.changes.appended == []
    assert len(json.dumps(body)) < 2_000


async def test_a_watched_source_takes_no_documents(client, world):
    for method, address in (
        ("PUT", "/documents/a.md"),
        ("DELETE", "/documents/a.md"),
        ("POST", "/documents"),
        ("POST", "/bulk"),
        ("POST", "/delete"),
    ):
        where = f"/api/v1/sources/docs{address}"
        kind = {"Content-Type": "application/x-ndjson"} if address == "/bulk" else {}
        said = b"--x--" if address == "/documents" else b'{"paths": ["a.md"]}'
        if address == "/documents":
            kind = {"Content-Type": "multipart/form-data; boundary=x"}
        response = await client.request(method, where, data=said, headers=kind)
        await problem(response, 409, "source_watched")
    assert world.intake.bodies == []


async def test_a_name_that_is_no_source_is_refused(client):
    body = await problem(
        await client.put("/api/v1/sources/My%20Notes/documents/a", data=b"x"),
        422,
        "invalid_request",
    )
    assert "a source name has" in body["detail"]


async def test_a_condition_holds_at_the_producer(client, world):
    first = await client.put(A, data=b"one")
    etag = first.headers["ETag"]
    second = await client.put(A, data=b"two", headers={"If-Match": etag})
    late = await client.put(A, data=b"three", headers={"If-Match": etag})
    body = await problem(late, 412, "revision_changed")
    gone = await client.delete(A, headers={"If-Match": etag})
    await problem(gone, 412, "revision_changed")

    assert second.status == 202
    assert late.headers["ETag"] == second.headers["ETag"] != etag
    assert second.headers["ETag"].strip('"') in body["detail"]
    assert await world.content("a.md") == b"two"
    assert (await client.delete(A, headers={"If-Match": second.headers["ETag"]})).status == 202


async def test_a_condition_on_a_document_that_is_not_there_fails(client):
    response = await client.put(A, data=b"x", headers={"If-Match": '"17"'})

    assert (
        "there is no such document" in (await problem(response, 412, "revision_changed"))["detail"]
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"If-Match": "*"},
        {"If-Match": '"1", "2"'},
        {"If-Match": 'W/"1"'},
        {"If-Match": "17"},
        {"If-Match": f'"{2**60}"'},
        {"If-None-Match": "*"},
        {"Idempotency-Key": " "},
        {"Idempotency-Key": "x" * 256},
    ],
)
async def test_conditions_and_keys_that_are_none_are_refused_and_never_ignored(
    client, world, headers
):
    await problem(await client.put(A, data=b"x", headers=headers), 422, "invalid_request")
    assert world.intake.bodies == []


async def test_the_same_request_with_a_key_has_the_same_receipt(client, world):
    key = {"Idempotency-Key": "k1"}
    first = await (await client.put(A, data=b"one", headers=key)).json()
    again = await (await client.put(A, data=b"one", headers=key)).json()
    other = await client.put(A, data=b"two", headers=key)

    assert first["receipt"] == again["receipt"]
    await problem(other, 422, "idempotency_conflict")
    assert len(world.index.changes.appended) == 1
    elsewhere = A.replace("inbox", "wiki")
    assert (await client.put(elsewhere, data=b"two", headers=key)).status == 202


async def test_a_key_is_known_after_the_gateway_started_anew(client, world):
    key = {"Idempotency-Key": "k1"}
    first = await (await client.put(A, data=b"one", headers=key)).json()
    world.uploads._known.clear()

    again = await (await client.put(A, data=b"one", headers=key)).json()
    world.uploads._known.clear()
    other = await client.put(A, data=b"two", headers=key)
    await problem(other, 422, "idempotency_conflict")
    assert (await client.put(A, data=b"three")).status == 202
    late = await client.put(A, data=b"one", headers=key)

    assert first["receipt"] == again["receipt"]
    told = await problem(late, 422, "idempotency_conflict")
    assert "the document has changed since" in told["detail"]
    assert await world.content("a.md") == b"three"


LARGE = b"x" * (2 * PIECE_BYTES)


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (b"\xff\x00\x01", b"\xff\x00\x02"),
        (LARGE, LARGE[:-1] + b"y"),
        (LARGE, b"x"),
        ({"data_base64": "/wAB"}, {"data_base64": "/wAC"}),
        ({"text": "x"}, {"text": "x", "title": "T"}),
        ({"text": "x", "metadata": {"k": 1}}, {"text": "x", "metadata": {"k": True}}),
        ({"text": "x"}, {"text": "x", "media_type": "text/html"}),
        ({"text": "x"}, {"text": "x", "static_score": 2}),
        ({"text": "x"}, {"text": "x", "is_active": False}),
        ({"text": "x", "source_version": 1}, {"text": "x", "source_version": 2}),
        ({"chunks": [{"text": "x"}]}, {"chunks": [{"text": "x", "heading": ["h"]}]}),
        (
            {"ref": {"url": "file:///shared/a.md", "size": 1}},
            {"ref": {"url": "file:///shared/a.md", "size": 2}},
        ),
        ({"text": "x"}, {"chunks": [{"text": "x"}]}),
        ({"text": "x"}, {"ref": {"url": "file:///shared/a.md"}}),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_another_request_with_a_key_is_no_stored_one_after_a_start_anew(
    client, world, first, other
):
    async def send(what):
        world.uploads._known.clear()
        if isinstance(what, bytes):
            return await client.put(A, data=io.BytesIO(what), headers={"Idempotency-Key": "k"})
        headers = {**FIELDS, "Idempotency-Key": "k"}
        return await client.put(A, data=json.dumps(what), headers=headers)

    stored = await send(first)
    same = await send(first)
    await problem(await send(other), 422, "idempotency_conflict")

    assert (stored.status, same.status) == (202, 202), await stored.text()
    assert (await stored.json())["receipt"] == (await same.json())["receipt"]
    assert len(world.index.changes.appended) == 1


async def test_a_condition_on_the_own_revision_is_another_request(client, world):
    key = {"Idempotency-Key": "k"}
    etag = (await client.put(A, data=b"x", headers=key)).headers["ETag"]
    world.uploads._known.clear()

    other = await client.put(A, data=b"x", headers={**key, "If-Match": etag})

    await problem(other, 422, "idempotency_conflict")


async def test_a_key_of_another_document_that_has_a_newer_change_stores_nothing(client, world):
    key, b = {"Idempotency-Key": "k"}, A.replace("a.md", "b.md")
    await client.put(A, data=b"one", headers=key)
    await client.put(b, data=b"b1")
    world.uploads._known.clear()

    await problem(await client.put(b, data=b"b2", headers=key), 422, "idempotency_conflict")
    assert await world.content("b.md") == b"b1"


async def test_a_part_of_a_document_is_refused_and_does_not_take_its_place(client, world):
    part = {"Content-Range": "bytes 100-103/104"}
    told = await problem(await client.put(A, data=b"tail", headers=part), 400, "malformed")

    assert "Content-Range" in told["detail"]
    assert world.intake.bodies == []


async def test_a_key_whose_first_request_has_no_receipt_is_in_progress(client, world, monkeypatch):
    monkeypatch.setattr("services.gateway.uploads.uploads.FIRST_RECEIPT_S", 0.0)
    key = {"Idempotency-Key": "k1"}
    await client.put(A, data=b"one", headers=key)
    world.uploads._known.clear()

    response = await client.put(A.replace("a.md", "b.md"), data=b"one", headers=key)

    await problem(response, 409, "idempotency_in_progress")


async def test_a_lower_version_is_stale(client):
    for version, status in ((2, 202), (1, 409)):
        said = json.dumps({"text": f"v{version}", "source_version": version})
        response = await client.put(A, data=said, headers=FIELDS)
        assert response.status == status
    await problem(response, 409, "stale_version")


async def test_a_lost_receipt_is_found_by_the_change(client, world):
    world.intake.answers = False

    assert (await client.put(A, data=b"one")).status == 202
    assert await world.content("a.md") == b"one"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (StreamFull("INTAKE is full"), 503, "stream_full"),
        (BusUnavailable("no"), 503, "bus_unavailable"),
        (ConfigurationError("run `instep keys` again"), 503, "unavailable"),
    ],
)
async def test_what_cannot_be_stored_is_told_with_a_time_to_come_back(
    client, world, error, status, code
):
    world.intake.failing = error

    response = await client.put(A, data=b"x")
    await problem(response, status, code)
    assert response.headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [(5, 4, "stale_version"), (5, 5, None), (5, 6, None)],
)
async def test_a_lost_receipt_is_told_as_the_producer_would(client, world, before, after, code):
    def said(version):
        return json.dumps({"text": f"v{version}", "source_version": version})

    assert (await client.put(A, data=said(before), headers=FIELDS)).status == 202
    world.intake.answers = False
    response = await client.put(A, data=said(after), headers=FIELDS)

    if code:
        await problem(response, 409, code)
    else:
        assert response.status == 202


async def test_a_lost_acknowledgement_makes_no_request_with_a_key(client, world, monkeypatch):
    """The bus calls the second attempt of one call a duplicate."""
    submit = world.intake.submit

    async def twice(source, body, **options):
        await submit(source, body, **options)
        return await submit(source, body, **options)

    monkeypatch.setattr(world.intake, "submit", twice)
    assert (await client.put(A, data=b"one")).status == 202

    async def overtaken(source, body, **options):
        await submit(source, body, **options)
        await submit(source, {"path": "a.md", "text": "x"}, token="t" * 22, message_id="other")
        return await submit(source, body, **options)

    monkeypatch.setattr(world.intake, "submit", overtaken)
    body = await (await client.put(A, data=b"two")).json()
    assert body["detail"] == "a newer change was accepted before"


async def test_a_higher_version_that_no_producer_took_is_not_called_old(client, world, monkeypatch):
    """The number of its message is lower than that of the newest change, which counts for less."""
    await client.put(A, data=json.dumps({"text": "x", "source_version": 5}), headers=FIELDS)

    async def waits(source, body, *, token, message_id, wait_s=30.0):
        return Submitted(1, False, None)

    monkeypatch.setattr(world.intake, "submit", waits)
    said = json.dumps({"text": "y", "source_version": 6})

    response = await client.put(A, data=said, headers=FIELDS)
    await problem(response, 503, "producer_unavailable")


async def test_without_a_producer_nothing_is_stored(client, world):
    world.running = 0

    await problem(await client.put(A, data=b"x"), 503, "producer_unavailable")
    assert world.intake.bodies == []


async def test_an_older_producer_refuses_a_condition_and_is_named(client, world):
    async def older(source, body, *, token, message_id, wait_s=30.0):
        from shared.ports import Submitted

        told = "op: must be 'upsert', 'delete' or 'piece'"
        receipt = {"state": "refused", "code": "invalid_request", "detail": told}
        return Submitted(1, False, receipt)

    world.intake.submit = older
    response = await client.put(A, data=b"x", headers={"If-Match": '"1"'})

    assert "older version" in (await problem(response, 503, "producer_unavailable"))["detail"]


async def test_a_page_of_another_site_cannot_send_documents(client, world):
    for method, address in (("PUT", A), ("DELETE", A), ("POST", "/api/v1/sources/inbox/documents")):
        for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            response = await client.request(method, address, data={"f": "x"}, headers=headers)
            await problem(response, 403, "forbidden")
    assert world.intake.bodies == []


@pytest.mark.parametrize("encoding", ["gzip", "GZIP"])
async def test_a_compressed_document_is_refused_for_one_cut_off_would_look_whole(
    client, world, encoding
):
    whole = gzip.compress(b"# Hi" * 1000)
    for body in (whole, whole[: len(whole) // 2]):
        response = await client.put(A, data=body, headers={"Content-Encoding": encoding})
        await problem(response, 415, "format_not_supported")
    form = {"Content-Type": "multipart/form-data; boundary=x", "Content-Encoding": encoding}
    response = await client.post("/api/v1/sources/inbox/documents", data=whole, headers=form)
    await problem(response, 415, "format_not_supported")
    assert world.intake.bodies == []


async def test_a_form_is_no_document(client, world):
    response = await client.put(
        A, data=b"--x--", headers={"Content-Type": "multipart/form-data; boundary=x"}
    )

    await problem(response, 415, "format_not_supported")
    assert world.intake.bodies == []
