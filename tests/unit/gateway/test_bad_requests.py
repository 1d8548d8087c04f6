"""Whatever bytes a client sends, the gateway answers, and says what is wrong as a problem."""

import asyncio
import contextlib
import itertools
import json
import re
from base64 import urlsafe_b64encode
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from raw_http import KEY, check, raw_gateway

from services.gateway import routes as routes_module
from services.gateway.documents.documents import write_cursor
from services.gateway.models import (
    DiffRequest,
    DocumentsRequest,
    FailuresRequest,
    SearchRequest,
)
from services.gateway.operations import OPERATIONS, resolve
from services.gateway.pages.frame import page_routes
from services.gateway.routes import routes
from services.gateway.uploads.lines import of_line
from services.host import http_server
from shared.domain.errors import DocumentRefused
from shared.domain.submissions import read as submission

OF_PAGES = {"from", "show", "similar", "did", "done", "skipped", "v", "vector", "keyword"}
"""Fields of pages that no operation has."""
ROUTES = [(route.method, re.sub(r"\{\w+(:[^}]*)?\}", "some", route.path)) for route in routes()]
GETS = [path.encode() for method, path in ROUTES if method == "GET"]
OTHER_BODIES = [
    re.sub(r"\{\w+\}", "some", place.address)
    for row in OPERATIONS.values()
    for place in row.places
    if row.body
]
POSTS = [p.encode() for method, p in ROUTES if method == "POST" and p not in OTHER_BODIES]
"""With a JSON object as the body."""

HEADERS = (
    b"Authorization",
    b"Host",
    b"Origin",
    b"Sec-Fetch-Site",
    b"Request-Id",
    b"Accept",
    b"Content-Type",
    b"Content-Encoding",
    b"Cookie",
    b"Expect",
    b"Upgrade",
    b"X-Other",
)
VALUES = (
    b"\x80",
    b"\xff\xfe",
    bytes(range(0x80, 0x100)),
    b"Bearer \xff",
    b"Basic \xe4\xf6",
    b"Basic " + b"/" * 8,
    b"Bearer \xed\xa0\x80",
    "schlüssel".encode("latin-1"),
    b"[::1",
    b"http://[",
)
PARTS = (
    b"%ff",
    b"%",
    b"%zz",
    b"%ed%a0%80",
    b"%00",
    b"\xff",
    b"\xed\xa0\x80",
    b"%2e%2e%2f",
    b"a" * 5000,
)
BODIES = (
    b"\xff",
    b"\xfe\xff\x00{",
    b'{"q": "\xff"}',
    b'{"q": "\xed\xa0\x80"}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"q": NaN}',
    b'{"q": "x", "wait": NaN, "limit": -Infinity}',
    b'{"q": "x", "weights": {"vector": 1e999}}',
    b'{"q": "x", "weights": {"vector": 1e308, "keyword": 1e308}}',
    b'{"q": "x", "limit": 1e999, "batch_size": 1e999}',
    b'{"q": "x", "limit": ' + b"9" * 4000 + b', "wait": ' + b"9" * 4000 + b"}",
    b'{"q": "x", "limit": ' + b"9" * 9000 + b"}",
    b'{"q": "x", "q": "y", "q": 1}',
    b'{"\\ud800": 1}',
    b'{"": ""}',
    b"null",
    b'"\\ud800"',
    b'{"q": "' + b"x" * 900_000 + b'"}',
    b'{"' + b"x" * 900_000 + b'": 1}',
    b" " * 1_100_000,
)
HALF = "\ud800"


def json_fields(model):
    """Every place of a request that takes text, filled with half a character."""
    for name, field in model.model_fields.items():
        yield {name: HALF}
        yield {name: [HALF]}
        yield {name: {HALF: 1}}
        yield {name: [{HALF: 1}]}
        inner = [one for one in (field.annotation, *get_args(field.annotation)) if is_model(one)]
        for one in inner:
            for below in json_fields(one):
                yield {name: below}
                yield {name: [below]}


def is_model(annotation):
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


@pytest.mark.parametrize("key", [None, KEY])
async def test_no_header_makes_the_gateway_fail(key):
    async with raw_gateway(key=key) as gateway:
        for method, path in ROUTES:
            for name in HEADERS:
                for value in VALUES:
                    check(await gateway.request(method, path.encode(), headers=[(name, value)]))


async def test_a_key_of_any_bytes_is_401():
    async with raw_gateway(key=KEY) as gateway:
        for value in VALUES:
            told = await gateway.request(
                "GET", b"/api/v1/status", headers=[(b"Authorization", value)]
            )
            assert (told.status, told.json["code"]) == (401, "no_key")


async def test_no_address_makes_the_gateway_fail():
    async with raw_gateway() as gateway:
        for path in GETS:
            for part in PARTS:
                for target in (path + part, path + b"/" + part, path.replace(b"some", part)):
                    check(await gateway.request("GET", target))


async def test_no_field_of_an_address_makes_the_gateway_fail():
    values = (b"%ff", b"%ed%a0%80", b"%00", b"\xff", b"nan", b"1e999", b"9" * 4500, b"-1")
    names = sorted(
        {name for op in OPERATIONS.values() for name in resolve(op.request).model_fields}
    )
    async with raw_gateway() as gateway:
        for path in GETS:
            for value in values:
                for name in [*map(str.encode, names), b"format", b"%ff", b"%ed%a0%80", b"\xff"]:
                    check(await gateway.request("GET", path + b"?" + name + b"=" + value))


async def test_no_field_of_a_page_makes_the_gateway_fail():
    pages = [
        re.sub(r"\{\w+(:[^}]*)?\}", "some", route.path).encode()
        for route in page_routes()
        if route.method == "GET"
    ]
    values = (b"%ff", b"nan", b"9" * 4500, b"5.0")
    asked = (SearchRequest, DocumentsRequest, FailuresRequest, DiffRequest)
    names = {name for model in asked for name in model.model_fields} | OF_PAGES
    async with raw_gateway() as gateway:
        for path in pages:
            for name, value in itertools.product(map(str.encode, sorted(names)), values):
                told = await gateway.request("GET", path + b"?q=a&" + name + b"=" + value)
                assert told.status < 500 or told.json["code"] != "internal_error", (path, name)
        many = b"&".join(b"n%d=1" % n for n in range(900))
        for path in pages:
            assert (await gateway.request("GET", path + b"?" + many)).status < 500


async def test_text_that_is_not_unicode_is_told_in_an_address():
    async with raw_gateway() as gateway:
        for target in (b"/api/v1/documents/\xff", b"/api/v1/search?q=\xff", b"/\xff"):
            told = await gateway.request("GET", target)
            assert told.status == 400, target
            check(told)


@pytest.mark.parametrize("nested", [10, 6000])
async def test_a_cursor_of_any_content_is_refused(nested):
    deep = urlsafe_b64encode(b"[" * nested).rstrip(b"=")[:7900]
    async with raw_gateway() as gateway:
        for cursor in (deep, write_cursor(HALF, HALF).encode(), b"e30", b"\xff", b"bnVsbA"):
            for path in (b"/api/v1/documents", b"/api/v1/batches", b"/api/v1/validations"):
                check(await gateway.request("GET", path + b"?cursor=" + cursor))


async def test_no_body_makes_the_gateway_fail():
    async with raw_gateway() as gateway:
        for path in POSTS:
            for body in BODIES:
                check(await gateway.request("POST", path, body=body))


async def test_half_a_character_is_told_in_every_field_of_every_operation():
    requests = {resolve(operation.request) for operation in OPERATIONS.values()}
    bodies = [fields for model in sorted(requests, key=str) for fields in json_fields(model)]
    async with raw_gateway() as gateway:
        for path in POSTS:
            for fields in bodies:
                told = await gateway.request("POST", path, body=json.dumps(fields).encode())
                assert (told.status, told.json["code"]) == (400, "not_unicode"), (path, fields)
                check(told)


LINES = (
    b"\xff\xff\xff\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: \x00\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: 1\r\n" % n for n in range(1000)) + b"\r\n",
    b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
    b"POST /api/v1/search HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /api/v1/search HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    b"POST /api/v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"zz\r\n\r\n",
    b"POST /api/v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    b"GET http://[ HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"GET http://127.0.0.1:99999/x HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
    b"CONNECT x HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
)


@pytest.mark.parametrize("raw", LINES, ids=range(len(LINES)))
async def test_bytes_that_are_no_request_are_answered_with_a_problem(raw, caplog):
    async with raw_gateway() as gateway:
        check(await gateway.send(raw))
    assert "x" * 100 not in caplog.text


text = st.text(st.characters(codec=None), max_size=20)  # with surrogates
plain = st.none() | st.booleans() | st.integers() | st.floats() | text
anything = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=10,
)
known = st.sampled_from(
    sorted({name for op in OPERATIONS.values() for name in resolve(op.request).model_fields})
)
bodies = st.dictionaries(known | text, anything, max_size=6).map(json.dumps).map(str.encode)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(bodies | st.binary(max_size=60), min_size=10, max_size=20),
    st.lists(st.binary(max_size=60), max_size=10),
)
def test_random_bodies_and_bytes_never_make_the_gateway_fail(sent, noise):
    async def send():
        async with raw_gateway() as gateway:
            for n, body in enumerate(sent):
                check(await gateway.request("POST", POSTS[n % len(POSTS)], body=body))
            for value in noise:
                flat = value.translate(None, b"\r\n\x00")
                await gateway.request("GET", b"/api/v1/status", headers=[(b"Origin", flat)])

    asyncio.run(send())


async def test_the_answer_to_many_faults_is_short_and_counts_them():
    bodies = {
        b"/api/v1/search": {f"k{n}": n for n in range(9_000)},
        b"/api/v1/sweep": {"x" * 900_000: 1},
        b"/api/v1/validate": {"queries": [{} for _ in range(9_000)]},
        b"/api/v1/failures/retry": {"ids": list(range(9_000))},
        b"/api/v1/failures/drop": {"code": "x" * 900_000, "ids": ["y" * 100_000]},
    }
    async with raw_gateway() as gateway:
        for path, fields in bodies.items():
            told = await gateway.request("POST", path, body=json.dumps(fields).encode())
            assert 400 <= told.status < 500
            check(told)
        told = await gateway.request(
            "POST", b"/api/v1/search", body=json.dumps(bodies[b"/api/v1/search"]).encode()
        )
        assert len(told.json["errors"]) == 20
        assert told.json["error_count"] == 9_001  # and the question is missing
        assert told.json["detail"].endswith("and 8,996 more")


async def test_a_body_of_too_many_values_is_refused_before_they_are_looked_at():
    body = json.dumps({f"k{n}": n for n in range(50_000)}).encode()
    async with raw_gateway() as gateway:
        for path in POSTS:
            told = await gateway.request("POST", path, body=body)
            assert (told.status, told.json["code"]) == (413, "request_too_large")
            check(told)


MANY = 50_000
SUBMISSIONS = {
    "fields": {f"k{n}": n for n in range(MANY)},
    "metadata": {"metadata": {f"k{n}": n for n in range(MANY)}},
    "objects in metadata": {"metadata": {f"k{n}": {} for n in range(MANY)}},
    "chunks": {"chunks": [{}] * MANY},
    "fields of a reference": {"ref": {f"k{n}": n for n in range(MANY)}},
    "a field as a list": {"op": [1] * MANY},
}


@pytest.mark.parametrize("told", SUBMISSIONS.values(), ids=SUBMISSIONS.keys())
def test_a_submission_of_many_faults_is_refused_in_a_sentence(told):
    body = {"path": "a.md", "text": "x"} | told
    line = json.dumps(body, separators=(",", ":")).encode()
    with pytest.raises(DocumentRefused) as refused:
        of_line(line)
    assert len(refused.value.reason) < 500


@pytest.mark.parametrize("field", ["metadata", "text", "path", "chunks", "ref", "op", "x"])
def test_no_depth_of_a_submission_is_a_fault_of_the_gateway(field):
    for depth in range(50, 2_000, 50):
        line = b'{"path":"a","%s":%s}' % (field.encode(), b"[" * depth + b"]" * depth)
        for read in (of_line, lambda data: submission(data, {})):
            with contextlib.suppress(DocumentRefused):
                read(line)


async def test_an_address_of_many_unknown_fields_is_answered_shortly():
    query = b"&".join(b"k%d=1" % n for n in range(1_000))
    async with raw_gateway() as gateway:
        for path in GETS:
            check(await gateway.request("GET", path + b"?" + query))


async def test_a_body_that_does_not_come_is_told_and_the_connection_closed(monkeypatch):
    for module in (http_server, routes_module):
        monkeypatch.setattr(module, "CLIENT_S", 0.05)
    async with raw_gateway() as gateway:
        for path in POSTS:
            head = b"POST " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            told = await gateway.send(head + b"Content-Length: 100\r\n\r\n{")
            assert (told.status, told.json["code"]) == (408, "request_timeout")
            check(told)


async def test_a_client_that_goes_away_in_the_middle_of_its_body_is_no_fault(capsys, eventually):
    async with raw_gateway() as gateway:
        _, writer = await gateway.connect()
        head = b"POST /api/v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n"
        writer.write(head + b"{")
        await writer.drain()
        writer.close()
        server = gateway.runner.server
        await eventually(lambda: server.requests_count == 1 and not server.connections)
    assert "request_failed" not in capsys.readouterr().out


async def test_what_follows_from_a_wrong_item_of_a_list_is_not_told():
    async with raw_gateway() as gateway:
        told = await gateway.request("POST", b"/api/v1/keys", body=b'{"scopes": ["all"]}')

    assert len(told.json["errors"]) == told.json["error_count"] == 1
    assert told.json["detail"].startswith("scopes.0: must be ")
    assert "at least" not in told.json["detail"]
