"""Many documents come in with one request: lines, forms and deletions, each document alone."""

import asyncio
import gzip
import io
import json
from pathlib import Path

import pytest
from aiohttp import FormData
from uploads_world import LIMIT

from services.gateway.uploads import bodies, handlers, many, uploads
from shared.domain.errors import StreamFull
from shared.domain.ids import doc_key

BULK = "/api/v1/sources/inbox/bulk"
FORM = "/api/v1/sources/inbox/documents"
DELETE = "/api/v1/sources/inbox/delete"
TYPE = {"Content-Type": "application/x-ndjson"}


def lines(*said):
    return b"\n".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in said)


async def newest(world, path, source="inbox"):
    return (await world.index.changes.newest(source, doc_key(source, path))).readable


async def test_lines_are_one_batch_whose_number_is_known(client, world):
    said = lines(
        {"path": "a.md", "text": "one"},
        b"",
        {"op": "delete", "path": "b.md"},
        {"path": "a.md", "text": "two"},
        {"path": "c.md", "chunks": [{"text": "x"}]},
    )
    response = await client.post(BULK, data=b"\xef\xbb\xbf" + said + b"\r\n", headers=TYPE)
    body = await response.json()

    assert response.status == 202, body
    assert (body["accepted"], body["refused"], body["errors"]) == (4, 0, [])
    batches = {(b["batch"]["id"], b["batch"]["count"]) for b in world.intake.bodies}
    assert batches == {(body["batch"], 3)}
    assert await world.content("a.md") == b"two"
    assert (await newest(world, "b.md")).op == "deleted"
    (open_batch,) = (await world.door.batches.open()).values()
    assert open_batch.whole


@pytest.mark.parametrize("receipts", ["", "?receipts=all"])
async def test_a_field_that_is_null_is_as_one_that_is_absent(client, world, receipts):
    fields = ("batch", "title", "metadata", "media_type", "source_version", "chunks", "if_revision")
    said = lines(
        {"path": "a.md", "text": "one"},
        {"path": "b.md", "text": "two", **dict.fromkeys(fields)},
        {"path": "c.md", "text": "three"},
    )

    response = await client.post(BULK + receipts, data=said, headers=TYPE)

    assert response.status == (200 if receipts else 202), await response.text()
    batches = {(b["batch"]["id"], b["batch"]["count"]) for b in world.intake.bodies}
    assert len(batches) == 1
    assert [count for _, count in batches] == [3]
    assert await world.content("b.md") == b"two"


async def test_bad_lines_are_named_and_the_others_taken(client, world):
    secret = "the secret of the lighthouse"
    said = lines(
        {"path": "a.md", "text": "fine"},
        {"path": "b.md", "titel": secret, "text": secret},
        b'{"path": "c.md", "text": "' + secret.encode(),
        {"path": "../d.md", "text": secret},
        {"text": secret},
        {"path": "e.md", "op": "piece", "data_base64": "eA=="},
        {"path": "f.md", "pieces": ["0" * 64]},
        {"path": "g.md", "text": "x", "batch": {}},
        b'{"path": "h.md", "text": "' + b"x" * 1_100_000 + b'"}',
        {"path": "i.md", "ref": {"url": "file:///etc/passwd"}},
        {"path": "j.md", "text": "x", "if_revision": 17},
        b"[1]",
        b"\xff\xfe",
    )
    response = await client.post(BULK, data=io.BytesIO(said), headers=TYPE)
    body = await response.json()

    assert response.status == 207
    assert (body["accepted"], body["refused"], body["truncated"]) == (1, 12, False)
    found = {e["line"]: (e["path"], e["code"]) for e in body["errors"]}
    assert found == {
        2: ("b.md", "invalid_request"),
        3: ("", "invalid_request"),
        4: ("../d.md", "invalid_path"),
        5: ("", "invalid_request"),
        6: ("e.md", "invalid_request"),
        7: ("f.md", "invalid_request"),
        8: ("g.md", "invalid_request"),
        9: ("", "document_too_large"),
        10: ("i.md", "reference_not_allowed"),
        11: ("j.md", "revision_changed"),
        12: ("", "invalid_request"),
        13: ("", "invalid_request"),
    }
    assert body["errors"][0]["detail"] == "'titel' is not a field; did you mean 'title'?"
    assert secret not in json.dumps(body)


async def test_when_none_is_taken_the_answer_is_a_problem_with_the_lines(client, world):
    response = await client.post(BULK, data=b"{}\n{}\n", headers=TYPE)
    body = await response.json()

    assert (response.status, body["code"], body["refused"]) == (422, "all_refused", 2)
    assert response.content_type == "application/problem+json"
    assert [error["line"] for error in body["errors"]] == [1, 2]
    assert world.intake.bodies == []


async def test_no_more_than_a_thousand_errors_are_listed(client):
    response = await client.post(BULK, data=b"{}\n" * 1_500, headers=TYPE)
    body = await response.json()

    assert (body["refused"], len(body["errors"]), body["truncated"]) == (1_500, 1_000, True)


@pytest.mark.parametrize("said", [b"", b"\n\r\n  \n"])
async def test_a_body_without_lines_is_refused(client, said):
    response = await client.post(BULK, data=said, headers=TYPE)

    assert (response.status, (await response.json())["code"]) == (422, "invalid_request")


async def test_lines_may_be_compressed_and_bombs_are_cut_off(client, world, monkeypatch):
    packed = {**TYPE, "Content-Encoding": "gzip"}
    good = await client.post(
        BULK, data=gzip.compress(lines({"path": "a", "text": "x"})), headers=packed
    )
    monkeypatch.setattr(handlers, "MAX_BODY_BYTES", 10_000_000)
    bomb = gzip.compress(b" " * 20_000_000)
    large = await client.post(BULK, data=bomb, headers=packed)
    broken = await client.post(BULK, data=b"not gzip", headers=packed)

    assert good.status == 202
    assert (large.status, (await large.json())["code"]) == (413, "request_too_large")
    assert (broken.status, (await broken.json())["code"]) == (400, "malformed")
    assert len(world.intake.bodies) == 1


async def test_another_type_is_refused_and_the_right_one_named(client):
    response = await client.post(BULK, data=b"{}", headers={"Content-Type": "application/json"})
    body = await response.json()

    assert (response.status, body["code"]) == (415, "format_not_supported")
    assert "application/x-ndjson" in body["detail"]


async def test_more_documents_than_one_request_may_have_change_nothing(client, world, monkeypatch):
    monkeypatch.setattr(many, "MOST_DOCUMENTS", 3)
    said = lines(*({"path": f"{n}", "text": "x"} for n in range(4)))
    response = await client.post(BULK, data=said, headers=TYPE)

    assert (response.status, (await response.json())["code"]) == (413, "request_too_large")
    assert world.intake.bodies == []


async def test_a_full_stream_in_the_middle_is_told_for_each_that_was_not_taken(client, world):
    submit = world.intake.submit

    async def filling(source, body, **options):
        if len(world.intake.bodies) >= 2:
            raise StreamFull("INTAKE is full")
        return await submit(source, body, **options)

    world.intake.submit = filling
    said = lines(*({"path": f"{n}", "text": "x"} for n in range(100)))
    response = await client.post(BULK, data=said, headers=TYPE)
    body = await response.json()
    world.intake.submit = submit
    world.intake.failing = StreamFull("INTAKE is full")
    none = await client.post(BULK, data=said, headers=TYPE)

    assert (response.status, body["accepted"], body["refused"]) == (207, 2, 98)
    assert {error["code"] for error in body["errors"]} == {"stream_full"}
    assert (none.status, none.headers["Retry-After"]) == (503, "1")


async def test_lines_with_a_key_are_taken_once(client, world):
    key = {**TYPE, "Idempotency-Key": "nightly"}
    said = lines({"path": "a.md", "text": "one"}, {"path": "b.md", "text": "two"})
    for _ in range(2):
        response = await client.post(BULK, data=said, headers=key)
        assert (response.status, (await response.json())["accepted"]) == (202, 2)
        world.uploads._known.clear()

    assert len(world.index.changes.appended) == 2


async def test_a_repeated_request_goes_on_with_its_batch(client, world):
    key = {**TYPE, "Idempotency-Key": "nightly"}
    said = lines(*({"path": f"{n}", "text": "x"} for n in range(5)))
    submit = world.intake.submit

    async def filling(source, body, **options):
        if len(world.intake.bodies) >= 2:
            raise StreamFull("INTAKE is full")
        return await submit(source, body, **options)

    world.intake.submit = filling
    first = await (await client.post(BULK, data=said, headers=key)).json()
    world.intake.submit = submit
    world.uploads._known.clear()
    again = await (await client.post(BULK, data=said, headers=key)).json()

    assert (first["accepted"], again["accepted"]) == (2, 5)
    assert {body["batch"]["id"] for body in world.intake.bodies} == {first["batch"]}
    assert again["batch"] == first["batch"]
    (open_batch,) = (await world.door.batches.open()).values()
    assert open_batch.whole


@pytest.mark.parametrize("anew", [True, False])
async def test_other_lines_with_a_key_are_another_request_and_open_no_batch(client, world, anew):
    key = {**TYPE, "Idempotency-Key": "nightly"}
    said = [{"path": f"{n}", "text": "x"} for n in range(3)]
    await client.post(BULK, data=lines(*said), headers=key)
    if anew:
        world.uploads._known.clear()

    response = await client.post(BULK, data=lines(*said, {"path": "9", "text": "x"}), headers=key)

    assert (response.status, (await response.json())["code"]) == (422, "idempotency_conflict")
    assert len(world.intake.bodies) == 3
    assert len(await world.door.batches.open()) == 1


async def test_a_repeated_request_may_name_a_document_twice(client, world):
    key = {**TYPE, "Idempotency-Key": "nightly"}
    said = lines(*({"path": "a.md", "text": text} for text in ("one", "two")))
    for _ in range(2):
        response = await client.post(BULK, data=said, headers=key)
        assert (response.status, (await response.json())["accepted"]) == (202, 2)
        world.uploads._known.clear()

    assert await world.content("a.md") == b"two"


async def test_a_repeated_request_waits_once_for_all_first_receipts(client, world, monkeypatch):
    clock, waited = [0.0], []

    async def pause(seconds):
        waited.append(seconds)
        clock[0] += seconds

    object.__setattr__(world.uploads, "clock", lambda: clock[0])
    monkeypatch.setattr(uploads.asyncio, "sleep", pause)
    key = {**TYPE, "Idempotency-Key": "nightly"}
    said = lines(*({"path": f"{n}", "text": "x", "if_revision": 17} for n in range(20)))
    first = await (await client.post(BULK, data=said, headers=key)).json()
    world.uploads._known.clear()
    again = await (await client.post(BULK, data=said, headers=key)).json()

    assert {error["code"] for error in first["errors"]} == {"revision_changed"}
    assert {error["code"] for error in again["errors"]} == {"idempotency_in_progress"}
    assert sum(waited) < 2 * uploads.FIRST_RECEIPT_S


async def test_one_document_s_lines_are_sent_in_their_order(client, world):
    submit, sent = world.intake.submit, []

    async def slow_at_first(source, body, **options):
        if not sent:
            sent.append(body["text"])
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        sent.append(body["text"])
        return await submit(source, body, **options)

    world.intake.submit = slow_at_first
    said = lines(*({"path": "a.md", "text": f"{n}"} for n in range(5)))
    await client.post(BULK, data=said, headers=TYPE)

    assert await world.content("a.md") == b"4"
    assert [body["text"] for body in world.intake.bodies] == ["0", "1", "2", "3", "4"]


def form(*files, meta=None):
    made = FormData(quote_fields=False)
    for name, data, *kind in files:
        made.add_field(
            "files", io.BytesIO(data), filename=name, content_type=kind[0] if kind else None
        )
    if meta is not None:
        made.add_field("meta", json.dumps(meta))
    return made


async def test_files_of_a_form_are_one_batch_with_what_meta_says(client, world, monkeypatch):
    monkeypatch.setattr(handlers, "INLINE_BYTES", 4)  # the third file is stored as a piece
    large = bytes(range(251)) * 8_000
    said = form(
        ("g/a.md", b"# Hi"),
        ("b.html", b"<p>x</p>", "text/html"),
        ("c.bin", large),
        meta={"g/a.md": {"title": "A", "metadata": {"k": 1}}, "b.html": {"path": "other.html"}},
    )
    response = await client.post(FORM, data=said)
    body = await response.json()

    assert response.status == 202, body
    assert body["accepted"] == 3
    sent = {one["path"]: one for one in world.intake.bodies if one.get("op") != "piece"}
    assert (sent["g/a.md"]["title"], sent["g/a.md"]["metadata"]) == ("A", {"k": 1})
    assert sent["other.html"]["media_type"] == "text/html"
    assert {one["batch"]["count"] for one in sent.values()} == {3}
    assert await world.content("c.bin") == large
    assert await world.content("other.html") == b"<p>x</p>"


async def test_a_form_with_two_parts_meta_is_refused(client, world):
    said = form(("a.md", b"x"), meta={"a.md": {"title": "A"}})
    said.add_field("meta", "{}")
    response = await client.post(FORM, data=said)

    assert (response.status, (await response.json())["code"]) == (422, "invalid_request")
    assert world.intake.bodies == []


async def test_a_form_in_pieces_with_a_key_is_known_after_a_start_anew(client, world, monkeypatch):
    monkeypatch.setattr(handlers, "INLINE_BYTES", 0)
    for data, status in ((b"one", 202), (b"one", 202), (b"two", 422)):
        said = form(("a.md", data))
        response = await client.post(FORM, data=said, headers={"Idempotency-Key": "k"})
        assert response.status == status, await response.text()
        world.uploads._known.clear()

    assert await world.content("a.md") == b"one"


async def test_bad_files_of_a_form_are_named_and_the_others_taken(client, world):
    said = form(
        ("a.md", b"fine"),
        ("../b.md", b"x"),
        ("big.bin", b"x" * (LIMIT + 1)),
        ("a.md", b"again"),
        ("d.md", b"x"),
        ("e.md", b"x"),
        ("f.md", b"x"),
        meta={"d.md": {"titel": "x"}, "e.md": {"path": "a.md"}, "f.md": {"text": "y"}},
    )
    response = await client.post(FORM, data=said)
    body = await response.json()

    assert response.status == 207, body
    assert (body["accepted"], body["refused"]) == (1, 6)
    found = {(error["file"], error["code"]) for error in body["errors"]}
    assert found == {
        ("../b.md", "invalid_path"),
        ("big.bin", "document_too_large"),
        ("a.md", "invalid_request"),
        ("d.md", "invalid_request"),
        ("e.md", "invalid_request"),
        ("f.md", "invalid_request"),
    }
    assert await world.content("a.md") == b"fine"


@pytest.mark.parametrize(
    ("kind", "said", "status"),
    [
        ("multipart/form-data; boundary=x", b"", 400),
        ("multipart/form-data", b"--x--", 400),
        ("multipart/form-data; boundary=" + "x" * 80, b"--x--", 400),
        ("multipart/form-data; boundary=x", b"no boundary at all\r\n" * 3, 400),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; na", 400),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nhello\r\n--x--\r\n", 422),
        ("multipart/form-data; boundary=x", b"--x--\r\n", 422),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n'
            b"Content-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\nz\r\n--y--\r\n--x--\r\n",
            400,
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n'
            b"Content-Transfer-Encoding: base64\r\n\r\neA==\r\n--x--\r\n",
            422,
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="meta"\r\n\r\n[1]\r\n--x--\r\n',
            400,
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\ncut off here',
            400,
        ),
        ("multipart/mixed; boundary=x", b"--x--\r\n", 415),
        ("application/x-www-form-urlencoded", b"a=b", 415),
    ],
)
async def test_a_form_that_is_none_is_a_problem(client, world, kind, said, status):
    response = await client.post(FORM, data=said, headers={"Content-Type": kind})
    body = await response.json()

    assert response.status == status, body
    assert body["code"] != "internal_error"
    assert world.intake.bodies == []


async def test_deletions_by_path_name_what_is_no_path(client, world):
    said = {"paths": ["a.md", "../b.md", "a.md", "c.md"]}
    response = await client.post(DELETE, json=said)
    body = await response.json()

    assert (response.status, body["accepted"], body["refused"]) == (207, 2, 1)
    assert (body["matched"], body["remaining"]) == (3, 0)
    assert [(e["line"], e["path"], e["code"]) for e in body["errors"]] == [
        (2, "../b.md", "invalid_path")
    ]
    assert world.ops == {"delete": 2}


async def test_deletion_by_prefix_takes_what_the_index_has_and_says_what_is_left(
    client, world, monkeypatch
):
    monkeypatch.setattr("services.gateway.uploads.uploads.MOST_DELETED", 2)
    for path in ("g/a.md", "g/b.md", "g/c.md", "h.md"):
        await world.index.put(path, [path], source="inbox")
    await world.index.put("g/a.md", ["x"], source="wiki")

    tried = await (await client.post(DELETE, json={"prefix": "g/", "dry_run": True})).json()
    before = list(world.intake.bodies)
    response = await client.post(DELETE, json={"prefix": "g/"})
    body = await response.json()

    assert (tried["matched"], tried["remaining"], tried["accepted"]) == (2, 1, 0)
    assert before == []
    assert (response.status, body["accepted"], body["remaining"]) == (202, 2, 1)
    assert sorted(one["path"] for one in world.intake.bodies) == ["g/a.md", "g/b.md"]


async def test_a_prefix_is_spelled_as_paths_are(client, world):
    await world.index.put("\u00e9/a.md", ["x"], source="inbox")

    response = await client.post(DELETE, json={"prefix": "e\u0301/"})

    assert (response.status, (await response.json())["matched"]) == (202, 1)


@pytest.mark.parametrize(
    "said", [{}, {"prefix": ""}, {"paths": ["a"], "prefix": "b"}, {"prefx": "a"}, {"paths": "a"}]
)
async def test_a_deletion_that_says_nothing_clear_is_refused(client, world, said):
    response = await client.post(DELETE, json=said)

    assert response.status == 422
    assert world.intake.bodies == []


async def test_a_client_that_stops_sending_is_cut_off_and_changes_nothing(
    client, world, monkeypatch
):
    monkeypatch.setattr("services.gateway.uploads.bodies.CLIENT_S", 0.05)

    async def stops():
        yield b'{"path": "a.md", "text": "x"}\n'
        await asyncio.Event().wait()

    for address, headers in ((BULK, TYPE), (FORM + "/a.md", {})):
        method = "POST" if address == BULK else "PUT"
        response = await client.request(method, address, data=stops(), headers=headers)
        assert (response.status, (await response.json())["code"]) == (408, "request_timeout")
    assert world.intake.bodies == []


async def test_lines_that_are_there_already_give_others_their_turn():
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    body = [b"{}\n" * 10_000]

    async def read(_):
        return body.pop() if body else b""

    running = asyncio.create_task(others())
    read_lines = [number async for number, _ in bodies.lines(read)]
    running.cancel()
    assert len(read_lines) == 10_000
    assert turns >= 10_000 / bodies.LINES_AT_ONCE


async def test_a_client_that_sends_byte_by_byte_is_cut_off_and_one_that_is_only_slow_is_not(
    client, world, monkeypatch
):
    monkeypatch.setattr("services.gateway.uploads.bodies.CLIENT_S", 0.3)

    def drips(size, pause_s):
        async def body():
            for _ in range(20):
                yield b" " * size
                await asyncio.sleep(pause_s)
            yield b'{"path": "a.md", "text": "x"}\n'

        return body()

    for address, headers in ((BULK, TYPE), (FORM + "/a.md", {})):
        method = "POST" if address == BULK else "PUT"
        response = await client.request(method, address, data=drips(1, 0.05), headers=headers)
        assert (response.status, (await response.json())["code"]) == (408, "request_timeout")
    assert world.intake.bodies == []
    response = await client.post(BULK, data=drips(1_000, 0.03), headers=TYPE)
    assert response.status == 202


@pytest.mark.parametrize("line", [b"", b"x"])
async def test_blank_and_refused_lines_count_as_lines(client, world, monkeypatch, line):
    monkeypatch.setattr(bodies, "MOST_DOCUMENTS", 10)
    said = lines({"path": "a.md", "text": "x"}, *[line] * 20)
    response = await client.post(BULK, data=said, headers=TYPE)

    assert (response.status, (await response.json())["code"]) == (413, "request_too_large")
    assert world.intake.bodies == []


async def test_the_batch_of_a_key_is_made_while_others_have_their_turn():
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    items = [(many.Where(line=n), {"path": "a", "text": "x"}) for n in range(100)]
    running = asyncio.create_task(others())
    await many._batch_of("k", many.ManyDocuments(lambda: items, 1))
    running.cancel()
    assert turns >= 100


async def test_a_full_disk_is_told_and_nothing_is_sent(client, world, monkeypatch):
    full = "services.gateway.uploads.many.tempfile.TemporaryFile"
    monkeypatch.setattr(full, lambda: Path("/dev/full").open("w+b"))  # noqa: SIM115 - the caller closes it
    for address in (BULK, f"{BULK}?receipts=all"):
        for count in (1, 1_000):  # it is told when the file is written, or only at its end
            said = lines(*[{"path": "a.md", "text": "x" * 100}] * count)
            response = await client.post(address, data=said, headers=TYPE)

            assert (response.status, (await response.json())["code"]) == (503, "unavailable")
    assert world.intake.bodies == []


async def test_files_that_are_not_read_count_as_files_of_a_form(client, world, monkeypatch):
    monkeypatch.setattr(bodies, "MAX_FORM_BYTES", 1_000)
    form = FormData()
    form.add_field("files", b"x", filename="a.md")
    form.add_field("files", b"x" * 2_000, filename="a.md")
    response = await client.post(FORM, data=form)

    assert (response.status, (await response.json())["code"]) == (413, "request_too_large")


async def test_as_many_bodies_are_read_at_once_as_there_are_places(client, world, monkeypatch):
    held = asyncio.Event()

    async def waits():
        yield b'{"path": "a.md", "text": "x"}\n'
        await held.wait()

    running = [
        asyncio.create_task(client.post(BULK, data=waits(), headers=TYPE))
        for _ in range(handlers.BODIES_AT_ONCE)
    ]
    app = client.server.app
    while not app[handlers.SLOTS].locked():
        await asyncio.sleep(0)
    refused = await client.post(BULK, data=b"{}", headers=TYPE)
    held.set()

    assert refused.status == 503
    assert {response.status for response in await asyncio.gather(*running)} == {202}
