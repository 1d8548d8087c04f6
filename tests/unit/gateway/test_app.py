import io

import pytest
from aiohttp.test_utils import TestClient, TestServer

from services.gateway.access.bearer import Credentials
from services.gateway.app import build_app
from services.gateway.models import CheckView
from shared.domain.errors import EncoderBusy, FilterNotReady, QuestionRefused, StillLoading


@pytest.fixture
async def client(index):
    async with TestClient(TestServer(build_app(index.queries, index.commands))) as client:
        yield client


async def problem(response):
    assert response.content_type == "application/problem+json"
    body = await response.json()
    assert body["status"] == response.status
    assert body["type"] == f"/problems/{body['code']}"
    assert body["request_id"] == response.headers["Request-Id"]
    return body


async def test_search_by_get_and_post_give_the_same_hits(client, index):
    await index.put("a.md", ["zebra stripes"])

    got = await (await client.get("/api/v1/search?q=zebra&limit=3&explain=1&source=docs")).json()
    body = {"q": "zebra", "limit": 3, "explain": True, "source": ["docs"]}
    posted = await (await client.post("/api/v1/search", json=body)).json()

    assert got["hits"] == posted["hits"]
    assert got["hits"][0]["document"]["path"] == "a.md"
    assert got["freshness"]["pending_documents"] == 0


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ('"zebra stripes"', ["a.md"]),
        ("zebra -stripes", ["b.md"]),
        *((odd, ["a.md", "b.md"]) for odd in ('zebra "', "-zebra", "- zebra", '"" zebra -""')),
    ],
)
async def test_the_language_of_a_question_is_that_of_get_and_post(client, index, question, found):
    await index.put("a.md", ["zebra stripes"])
    await index.put("b.md", ["a zebra"])
    body = {"q": question, "mode": "keyword"}

    got = await client.get("/api/v1/search", params=body)
    posted = await client.post("/api/v1/search", json=body)

    for response in (got, posted):
        assert response.status == 200
        hits = (await response.json())["hits"]
        assert sorted(hit["document"]["path"] for hit in hits) == found


async def test_every_reading_address_answers(client, index):
    key, revision = await index.put("g/a ü.md", ["zebra"])

    for address in (
        "/api/v1/status",
        "/api/v1/documents?state=searchable&limit=2",
        f"/api/v1/documents/{key}",
        "/api/v1/documents/docs/g/a%20%C3%BC.md?chunks=0",
        f"/api/v1/receipts/{key}-{revision}?wait=0",
        "/api/v1/failures",
        "/api/v1/batches",
        "/api/v1/sources",
        "/api/v1/sources/docs",
        "/api/v1/checks?deep=1",
        "/api/v1/version",
        "/livez",
        "/readyz",
    ):
        response = await client.get(address)
        assert response.status == 200, address
        assert isinstance(await response.json(), dict)


async def test_unknown_fields_are_refused_with_a_suggestion(client):
    by_get = await problem(await client.get("/api/v1/search?q=x&limt=3"))
    by_post = await problem(await client.post("/api/v1/search", json={"q": "x", "mod": "vector"}))

    assert by_get["code"] == by_post["code"] == "unknown_field"
    assert "did you mean 'limit'?" in by_get["detail"]
    assert by_post["errors"] == [
        {
            "at": "/mod",
            "code": "unknown_field",
            "detail": "'mod' is not a field; did you mean 'mode'?",
        }
    ]


async def test_a_document_that_the_client_has_is_not_sent_again(client, index):
    _, sequence = await index.put("a.md", ["zebra"])
    address = "/api/v1/documents/docs/a.md"
    tag = (await client.get(address)).headers["ETag"]
    again = {"If-None-Match": f'"other", W/{tag}'}

    known = await client.get(address, headers=again)
    fewer = await client.get(f"{address}?chunks=0", headers=again)
    await index.begin("a.md", ["zebra", "quagga"])
    newer = await client.get(address, headers=again)

    assert tag.startswith(f'"{sequence}-')
    assert (known.status, await known.read(), known.headers["ETag"]) == (304, b"", tag)
    assert known.headers["Request-Id"]
    assert [fewer.status, newer.status] == [200, 200]


async def test_a_tag_changes_while_a_change_is_worked_on(client, index):
    _, sequence = await index.begin("a.md", ["zebra"])
    address = "/api/v1/documents/docs/a.md"
    working = (await client.get(address)).headers["ETag"]
    await index.fail("a.md")
    failed = (await client.get(address)).headers["ETag"]

    assert working != failed
    assert working.startswith(f'"{sequence}-')
    assert failed.startswith(f'"{sequence}-')


@pytest.mark.parametrize("header", ["", '"', "x", "W/", '"a', "*", "\x80"])
async def test_any_condition_is_answered(client, index, header):
    await index.put("a.md", ["zebra"])
    response = await client.get("/api/v1/documents/docs/a.md", headers={"If-None-Match": header})

    assert response.status == (304 if header == "*" else 200)


async def test_a_method_that_is_not_possible_names_those_that_are(client):
    for method, address, allowed in (
        ("DELETE", "/api/v1/search", "GET, HEAD, POST"),
        ("GET", "/api/v1/validate", "POST"),
        ("TRACE", "/livez", "GET, HEAD"),
    ):
        response = await client.request(method, address)

        assert (response.status, response.headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize(
    ("address", "status", "code"),
    [
        ("/api/v1/search?q=%20", 422, "invalid_request"),
        ("/api/v1/search?q=x&limit=999", 422, "invalid_request"),
        ("/api/v1/search?q=x&filter=sorce:docs", 422, "invalid_filter"),
        ("/api/v1/documents?state=lost", 422, "invalid_request"),
        ("/api/v1/documents/nosuch", 404, "document_not_found"),
        ("/api/v1/receipts/nosuch", 404, "receipt_not_found"),
        ("/api/v1/batches/nosuch/report", 404, "batch_not_found"),
        ("/api/v1/batches/nosuch", 404, "batch_not_found"),
        ("/api/v1/failures/nosuch", 404, "failure_not_found"),
        ("/api/v1/sources/nosuch", 404, "source_not_found"),
        ("/api/v1/sttus", 404, "not_found"),
        ("/problems/nosuch", 404, "not_found"),
        ("/api/v1/validate", 405, "method_not_allowed"),
    ],
)
async def test_what_cannot_be_answered_is_a_problem_with_a_code(client, address, status, code):
    response = await client.get(address)

    assert response.status == status
    assert (await problem(response))["code"] == code


@pytest.mark.parametrize("body", [b"{", b"[1]", b"\xff", b"[" * 20_000])
async def test_a_body_that_is_no_json_object_is_malformed(client, body):
    response = await client.post("/api/v1/search", data=body)

    assert response.status == 400
    assert (await problem(response))["code"] == "malformed"


async def test_a_body_that_is_too_large_is_refused(client):
    response = await client.post("/api/v1/search", data=io.BytesIO(b" " * (1024**2 + 1)))

    assert (await problem(response))["code"] == "request_too_large"


async def test_foreign_hosts_and_origins_are_refused(client, index):
    read = await client.get("/api/v1/status", headers={"Host": "evil.example"})
    write = await client.post(
        "/api/v1/failures/retry", json={"all": True}, headers={"Origin": "http://evil.example"}
    )

    assert (await problem(read))["code"] == "bad_host"
    assert (await problem(write))["code"] == "forbidden"
    assert index.changes.appended == []


async def test_a_busy_model_is_503_with_a_time_to_come_back(client, index):
    async def busy(texts):
        raise EncoderBusy("queue is full")

    index.encoder.encode = busy
    response = await client.get("/api/v1/search?q=zebra")

    assert response.status == 503
    assert response.headers["Retry-After"] == "1"
    assert (await problem(response))["code"] == "encoder_busy"


async def test_a_filter_is_503_while_rows_lack_their_terms(client, index):
    async def without(vector, *, limit, where):
        raise FilterNotReady("no terms")

    index.store.search = without
    response = await client.get("/api/v1/search?q=zebra&filter=source:docs")

    assert response.status == 503
    assert response.headers["Retry-After"]
    told = await problem(response)
    assert told["code"] == "field_not_ready"
    assert "indexer" in told["detail"]
    assert "indexer" in told["fix"]


async def test_a_question_that_the_store_cannot_take_is_the_fault_of_the_question(
    client, index, capsys
):
    async def refused(text, *, limit, where):
        raise QuestionRefused("the vector store cannot take this question")

    index.store.search_text = refused
    response = await client.get("/api/v1/search?q=zebra")
    body = await problem(response)

    assert (response.status, body["code"]) == (400, "question_refused")
    assert "does not answer" not in body["detail"]
    assert body["fix"]
    assert "Traceback" not in "".join(capsys.readouterr())


async def test_a_bug_shows_its_kind_and_nothing_of_itself(client, index):
    async def broken(texts):
        raise RuntimeError("secret text of a document")

    index.encoder.encode = broken
    body = await problem(await client.get("/api/v1/search?q=zebra"))

    assert body["code"] == "internal_error"
    assert "secret" not in str(body)


async def test_not_ready_is_503_with_the_reason(client, index):
    async def check():
        return [CheckView(name="bus", level="FAIL", text="not connected", fix="instep doctor")]

    index.queries.check = check
    response = await client.get("/readyz")

    assert response.status == 503
    assert (await response.json())["checks"][0]["text"] == "not connected"


async def test_a_store_that_differs_from_the_ledger_is_a_warning(client, index):
    key, _ = await index.put("a.md", ["one", "two"])
    rows = await index.store.ids({key: 2**53})
    await index.store.delete(sorted(rows[key])[:1])

    body = await (await client.get("/api/v1/checks?deep=1")).json()

    assert body["ready"]
    assert body["checks"][-1]["level"] == "WARN"
    assert body["checks"][-1]["text"] == "1 row, the ledger lists 2"


async def test_retry_drop_and_validate_are_posts(client, index):
    await index.begin("a.md", ["one"])
    await index.fail("a.md")

    retried = await (await client.post("/api/v1/failures/retry", json={"all": True})).json()
    dropped = await (await client.post("/api/v1/failures/drop", json={"all": True})).json()
    valid = await (await client.post("/api/v1/validate", json={})).json()

    assert (retried["done"], dropped["done"]) == (1, 1)
    assert valid["passed"] is True


async def test_every_error_code_has_a_page(client):
    response = await client.get("/problems/encoder_busy")

    assert response.status == 200
    assert "503" in await response.text()


async def test_a_request_id_is_taken_or_made(client):
    given = await client.get("/livez", headers={"Request-Id": "abc123"})
    odd = await client.get("/livez", headers={"Request-Id": "a b;c"})

    assert given.headers["Request-Id"] == "abc123"
    assert len(odd.headers["Request-Id"]) == 32


async def test_with_a_key_only_supervisors_are_answered_without_it(index):
    app = build_app(index.queries, index.commands, known=Credentials("k" * 32))
    async with TestClient(TestServer(app)) as client:
        asked = await client.get("/api/v1/status")
        shown = await client.get("/api/v1/status", headers={"Authorization": "Bearer " + "k" * 32})
        alive = [await client.get(address) for address in ("/livez", "/readyz")]

    assert asked.status == 401
    assert asked.headers["WWW-Authenticate"].startswith("Basic")
    assert shown.status == 200
    assert [answer.status for answer in alive] == [200, 200]


async def test_what_needs_the_model_is_refused_while_that_loads_and_all_else_is_answered(
    client, index
):
    await index.put("a.md", ["zebra stripes"])
    index.search.encoder = still_loading("model")
    index.queries.loading = lambda: {"model": "the model is loading"}

    refused = await client.get("/api/v1/search?q=zebra")
    body = await problem(refused)
    words = await (await client.get("/api/v1/search?q=zebra&mode=keyword")).json()
    status = await (await client.get("/api/v1/status")).json()

    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert (body["code"], body["detail"]) == ("loading", "the model is loading")
    assert "instep status" in body["fix"]
    assert [hit["document"]["path"] for hit in words["hits"]] == ["a.md"]
    assert status["loading"] == {"model": "the model is loading"}
    assert status["documents"]["searchable"] == 1


async def test_what_needs_the_store_is_refused_while_that_opens_and_all_else_is_answered(
    client, index
):
    key, _ = await index.put("a.md", ["zebra stripes"])
    index.search.store = index.queries.store = still_loading("store")

    refused = ("search?q=zebra", "search?q=zebra&mode=keyword", f"documents/{key}", "checks?deep=1")
    codes = [(await problem(await client.get(f"/api/v1/{one}")))["code"] for one in refused]
    answered = ("status", "documents", f"documents/{key}?chunks=0", "failures", "version")
    found = [(await client.get(f"/api/v1/{one}")).status for one in answered]

    assert codes == ["loading"] * len(refused)
    assert found == [200] * len(answered)


def still_loading(what):
    async def get():
        raise StillLoading(f"the {what} is loading")

    return get
