"""Requests to a gateway and its answers, as both clients send and read them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instep.http import (
    Received,
    Refused,
    Unreachable,
    call_of,
    json_line,
    pause_s,
    read,
    server_of,
)
from services.gateway.operations import OPERATIONS

URL = "http://127.0.0.1:1"
STATUS = OPERATIONS["status"]
NO = b'{"code": "document_not_found", "detail": "no such document", "fix": "look again"}'


def call(operation, fields, **more):
    made = call_of(OPERATIONS[operation], fields, **more)
    return made.method, made.target, made.body


def test_reading_asks_by_address_and_leaves_out_what_is_not_given():
    fields = {"state": "queued", "source": "", "stale": True, "limit": 5}

    assert call("documents", fields) == (
        "GET",
        "/api/v1/documents?state=queued&stale=1&limit=5",
        None,
    )


def test_a_document_s_path_keeps_its_slashes_and_nothing_else():
    method, target, _ = call("document", {"name": "docs/a b?ü#.md", "file": "/x y"})

    assert target == "/api/v1/documents/docs/a%20b%3F%C3%BC%23.md?file=%2Fx+y"
    assert method == "GET"


def test_a_name_that_holds_no_slash_is_one_part_of_the_address():
    assert call("approve", {"source": "a/b"})[:2] == ("POST", "/api/v1/removals/a%2Fb/approve")


def test_a_search_is_a_post():
    assert call("search", {"q": "x", "mode": None, "source": []}) == (
        "POST",
        "/api/v1/search",
        b'{"q":"x"}',
    )


@given(st.dictionaries(st.text(st.characters()), st.text(st.characters())))
def test_json_says_the_same_as_with_escapes_and_is_one_line(value):
    line = json_line(value)

    assert json.loads(line.decode()) == json.loads(json.dumps(value))
    assert b"\n" not in line


def test_json_has_the_bytes_of_the_text_and_escapes_only_what_utf_8_cannot_hold():
    assert json_line({"text": "жé\\"}) == '{"text":"жé\\\\"}'.encode()
    assert json_line({"text": "ж\ud800"}) == "ж".join(('{"text":"', '\\ud800"}')).encode()


@pytest.mark.parametrize(
    ("operation", "fields", "said"),
    [
        ("document", {"name": ""}, "name: must not be empty"),
        ("report", {"batch": ""}, "batch: must not be empty"),
        ("approve", {"source": ""}, "source: must not be empty"),
        ("document", {"name": "a\udcff"}, "name: must be valid Unicode text"),
        ("approve", {"source": "\udcff"}, "source: must be valid Unicode text"),
        ("failures", {"code": "\udcff"}, "code: must be valid Unicode text"),
        ("document", {"name": "ü" * 3000}, "name: is too long for an address; shorten it"),
    ],
)
def test_what_an_address_cannot_hold_is_refused(operation, fields, said):
    with pytest.raises(Refused) as refused:
        call(operation, fields)

    assert refused.value.detail == said


@pytest.mark.parametrize(
    "url", ["ftp://h", "127.0.0.1:8765", "http://", "http://h:99999", "http://["]
)
def test_what_is_no_address_of_a_gateway_is_refused(url):
    with pytest.raises(Refused, match="is not the address of a gateway"):
        server_of(url)


def test_a_request_may_take_as_long_as_the_table_says_and_its_wait():
    assert call_of(STATUS, {}).timeout_s == 30
    assert call_of(OPERATIONS["sweep"], {}).timeout_s == 6 * 3600
    assert call_of(OPERATIONS["receipt"], {"receipt": "a", "wait": 20}).timeout_s == 50
    assert call_of(OPERATIONS["receipt"], {"receipt": "a", "wait": 20}, timeout_s=5).timeout_s == 5


def test_a_key_is_shown_and_a_body_named():
    headers = call_of(OPERATIONS["search"], {"q": "x"}).headers("k")

    assert headers == {"Content-Type": "application/json", "Authorization": "Bearer k"}
    assert call_of(STATUS, {}).headers(None) == {}


def test_a_problem_is_a_refusal_with_code_and_fix():
    with pytest.raises(Refused) as refused:
        read(URL, STATUS, Received(404, NO))

    told = refused.value
    assert (told.code, told.status) == ("document_not_found", 404)
    assert (told.detail, told.fix) == ("no such document", "look again")


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"<html>"), (200, b"[]"), (502, b"bad gateway"), (200, b"\xff")]
)
def test_what_is_not_instep_is_said_so(status, body):
    with pytest.raises(Unreachable, match="not instep"):
        read(URL, STATUS, Received(status, body))


def test_not_ready_is_an_answer_too():
    body = b'{"ready": false, "checks": []}'

    assert read(URL, OPERATIONS["readyz"], Received(503, body))["ready"] is False


def refused(status=503, code="loading", after="2"):
    body = b'{"code": "%s", "detail": "d"}' % code.encode()
    with pytest.raises(Refused) as found:
        read(URL, STATUS, Received(status, body, after))
    return found.value


def test_a_reading_request_is_made_again_when_the_gateway_says_so():
    assert pause_s(STATUS, refused(), None) == 2
    assert pause_s(OPERATIONS["search"], refused(), None) == 2  # a POST that changes nothing
    assert pause_s(OPERATIONS["retry"], refused(), None) is None
    assert pause_s(STATUS, refused(status=500), None) is None
    assert pause_s(STATUS, refused(after=None), None) is None
    assert pause_s(STATUS, refused(after="Mon, 30 Nov 2026 12:00:00 GMT"), None) == 1


def test_only_the_codes_that_a_caller_names_are_waited_for():
    assert pause_s(STATUS, refused(), ("loading",)) == 2
    assert pause_s(STATUS, refused(code="store_unavailable"), ("loading",)) is None
