import pytest

from services.cli.api import client
from services.cli.api.client import ask, read, request_of
from services.cli.exits import Stop

URL = "http://127.0.0.1:1"


def test_reading_asks_by_address_and_leaves_out_what_is_not_given():
    fields = {"state": "queued", "source": "", "stale": True, "limit": 5}

    assert request_of("documents", fields) == (
        "GET",
        "/api/v1/documents?state=queued&stale=1&limit=5",
        None,
    )


def test_a_document_s_path_keeps_its_slashes_and_nothing_else():
    method, target, _ = request_of("document", {"name": "docs/a b?ü#.md", "file": "/x y"})

    assert target == "/api/v1/documents/docs/a%20b%3F%C3%BC%23.md?file=%2Fx+y"
    assert method == "GET"


def test_a_name_that_holds_no_slash_is_one_part_of_the_address():
    assert request_of("approve", {"source": "a/b"})[:2] == (
        "POST",
        "/api/v1/removals/a%2Fb/approve",
    )


def test_a_search_is_a_post():
    assert request_of("search", {"q": "x", "mode": None, "source": []}) == (
        "POST",
        "/api/v1/search",
        b'{"q": "x"}',
    )


@pytest.mark.parametrize(
    ("operation", "fields", "said"),
    [
        ("document", {"name": ""}, "name: must not be empty"),
        ("report", {"batch": ""}, "batch: must not be empty"),
        ("document", {"name": "a\udcff"}, "name: must be valid Unicode text"),
        ("failures", {"code": "\udcff"}, "code: must be valid Unicode text"),
    ],
)
def test_what_an_address_cannot_hold_is_refused(operation, fields, said):
    with pytest.raises(Stop) as stop:
        request_of(operation, fields)

    assert (stop.value.text, stop.value.status) == (said, 2)


@pytest.mark.parametrize(
    ("status", "exit_status"), [(404, 2), (422, 2), (403, 2), (500, 3), (503, 3)]
)
def test_a_problem_becomes_one_line_with_its_fix(status, exit_status):
    with pytest.raises(Stop) as stop:
        read(URL, status, b'{"detail": "no such document", "fix": "look again"}')

    assert stop.value.status == exit_status
    assert stop.value.text == "no such document. Fix: look again"


def test_what_is_not_instep_is_said_so():
    with pytest.raises(Stop, match="not instep") as stop:
        read(URL, 200, b"<html>")

    assert stop.value.status == 3


def test_not_ready_is_an_answer_too():
    assert read(URL, 503, b'{"ready": false, "checks": []}')["ready"] is False


@pytest.fixture
def gateway(monkeypatch):
    """A gateway that gives these answers, one after another, and the pauses that were made."""
    pauses, answers = [], []
    monkeypatch.setattr(client, "_once", lambda *_: answers.pop(0))
    monkeypatch.setattr(client.time, "sleep", pauses.append)
    return answers, pauses


LOADING = (503, b'{"code": "loading", "detail": "the model is loading", "fix": "ask again"}')


def test_a_gateway_that_still_loads_is_asked_again(gateway):
    answers, pauses = gateway
    answers += [LOADING, LOADING, (200, b'{"hits": []}')]

    assert ask("http://127.0.0.1:1", "search", {"q": "x"}) == {"hits": []}
    assert len(pauses) == 2


def test_a_gateway_that_loads_for_longer_than_one_waits_says_so(gateway):
    answers, pauses = gateway
    answers.append(LOADING)

    with pytest.raises(Stop, match="the model is loading"):
        ask("http://127.0.0.1:1", "search", {"q": "x"}, timeout_s=0)
    assert pauses == []


def test_a_gateway_whose_store_is_away_is_asked_once(gateway):
    answers, pauses = gateway
    answers.append((503, b'{"code": "store_unavailable", "detail": "no answer", "fix": ""}'))

    with pytest.raises(Stop, match="no answer"):
        ask("http://127.0.0.1:1", "search", {"q": "x"})
    assert pauses == []
