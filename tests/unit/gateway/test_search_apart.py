"""Another process answers searches as this one would; where it does not, this one answers."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from structlog.testing import capture_logs

from services.gateway import build
from services.gateway.access.access import Principal
from services.gateway.access.limited import limited
from services.gateway.answers import Faces
from services.gateway.models import SearchRequest
from services.gateway.problems import Problem
from services.gateway.search import apart
from services.gateway.search import search as module
from services.gateway.search.apart import (
    NUMBER,
    SERVING,
    SearchProcess,
    ServedInstance,
    answered,
    asked,
    number_of,
    read_asked,
)
from services.gateway.views import SearchAnswer
from shared.domain.errors import EncoderBusy, TransientError
from shared.generation import Generation
from shared.sandbox.child import Died
from shared.settings import Chunking, Settings

GENERATION = Generation("fake", "f32", "f", 2, Chunking())
REQUESTS = [
    {"q": "zebra"},
    {"q": "zebra stripes", "explain": True, "highlight": True, "group_by": "chunk", "limit": 2},
    {"q": '"zebra stripes" -lion', "mode": "keyword", "facets": ("source", "folder")},
    {"q": "zebra", "mode": "vector", "filter": "source:docs path:a", "source": ("docs",)},
    {
        "q": "zebra",
        "filter": {"field": "source", "in": ["docs"]},
        "weights": {"recency": 0.2, "vector": 0.0},
    },
    {"q": "ze\u0301bra \u65e5\u672c", "group_by": "content"},
    {"q": "nothing at all"},
]


@pytest.fixture
async def zoo(index):
    await index.put("a.md", ["zebra stripes are black", "a lion sleeps"])
    await index.put("b/c.md", ["a zebra has stripes"])
    await index.put("copy.md", ["a zebra has stripes"])
    await index.put("d.md", ["the office is closed"], source="wiki")
    return index


async def no_encoder():
    raise EncoderBusy("the question has no vector")


def beside(search):
    """What `services.host.search_process` does with a question, as frames, and the questions."""
    other, taken = replace(search, encoder=no_encoder, _vectors=type(search._vectors)()), []

    async def ask(request, vector):
        frame = asked(7, request, vector)
        number = number_of(frame)
        request, vector = read_asked(frame)
        taken.append(request)
        if vector is not None:
            other.remember(request.q, vector)
        frame = answered(number, await other(request))
        assert number_of(frame) == 7
        return SearchAnswer.model_validate_json(frame[NUMBER.size :])

    return ask, taken


def plain(answer):
    told = answer.model_dump()
    del told["took_ms"]
    return {**told, "timings": sorted(told["timings"] or ())}


@pytest.mark.parametrize("fields", REQUESTS, ids=str)
async def test_the_answer_of_another_process_is_that_of_this_one(zoo, fields):
    ask, taken = beside(zoo.search)
    request = SearchRequest(**fields)

    here = await zoo.search(request)
    there = await replace(zoo.search, apart=ask)(request)

    assert len(taken) == 1
    assert plain(there) == plain(here)


async def test_a_receipt_is_waited_for_here(zoo):
    key, seq = await zoo.put("new.md", ["a new zebra"])
    ask, taken = beside(zoo.search)

    answer = await replace(zoo.search, apart=ask)(SearchRequest(q="zebra", after=f"{key}-{seq}"))

    assert answer.freshness.after_met is True
    assert taken[0].after is None


async def test_what_is_refused_or_waited_for_is_decided_here_and_once(zoo, monkeypatch):
    ask, taken = beside(zoo.search)
    search, waited = replace(zoo.search, apart=ask), []

    async def waits(ledger, doc_key, revision, wait_s):
        waited.append(revision)
        return False

    monkeypatch.setattr(module, "wait_for", waits)
    nested = {"not": {"field": "source", "in": ["docs"]}}
    for _ in range(300):
        nested = {"not": nested}
    key, seq = await zoo.put("new.md", ["a new zebra"])
    for wrong in ({"filter": nested}, {"filter": "colour:red"}, {"rerank": True}):
        with pytest.raises(Problem):
            await search(SearchRequest(q="zebra", after=f"{key}-{seq}", **wrong))
    assert (taken, waited) == ([], [])

    async def nothing(request, vector):
        return None

    found = await replace(search, apart=nothing)(SearchRequest(q="zebra", after=f"{key}-{seq}"))
    assert found.freshness.after_met is False
    assert waited == [seq]


async def test_this_process_answers_what_the_other_does_not(zoo):
    async def nothing(request, vector):
        return None

    search = replace(zoo.search, apart=nothing)

    assert (await search(SearchRequest(q="zebra"))).hits
    with pytest.raises(Problem, match="nonsense"):
        await search(SearchRequest(q="zebra", filter="nonsense>=1"))


async def test_who_may_see_some_sources_only_is_answered_here(zoo):
    ask, taken = beside(zoo.search)
    queries = replace(zoo.queries, search_index=replace(zoo.search, apart=ask))
    whole = Faces(queries, zoo.commands)

    seen = limited(whole, Principal("k", frozenset({"read"}), frozenset({"wiki"})))
    await seen.queries.search(SearchRequest(q="zebra"))
    assert not taken
    await queries.search(SearchRequest(q="zebra"))
    assert taken


class FakeChild:
    """A child that says what a test tells it to."""

    def __init__(self):
        self.told, self.heard, self.is_killed = asyncio.Queue(), [], False

    async def say(self, frame):
        if self.is_killed:
            raise Died(9)
        self.heard.append(frame)

    async def hear(self, most_bytes):
        told = await self.told.get()
        if told is None:
            raise Died(9)
        return told

    def kill(self):
        self.is_killed = True
        self.told.put_nowait(None)

    async def end(self):
        self.is_killed = True


@pytest.fixture
async def process(tmp_path, monkeypatch):
    children, clock = [], [1000.0]
    monkeypatch.setattr(apart.time, "monotonic", lambda: clock[0])

    async def start():
        children.append(FakeChild())
        return children[-1]

    made = SearchProcess(ServedInstance(Settings(), tmp_path, "nats://x", GENERATION), start)
    yield made, children, clock
    await made.close()


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def serving(process, children):
    """The child that serves now."""
    assert await process(SearchRequest(q="first"), None) is None
    await settle()
    children[-1].told.put_nowait(SERVING)
    await settle()
    return children[-1]


def answer(generation):
    return SearchAnswer.model_validate(
        {
            "hits": [],
            "total": {"value": 0, "exact": True},
            "mode": "hybrid",
            "took_ms": 1.0,
            "generation": generation,
            "freshness": {"watermark": None, "pending_documents": 0},
        }
    )


async def test_answers_find_their_questions_in_any_order(process):
    made, children, _ = process
    child = await serving(made, children)
    assert ServedInstance.from_bytes(child.heard[0]).generation == GENERATION
    vector = np.ones(4, np.float32)

    asking = [asyncio.create_task(made(SearchRequest(q=q), vector)) for q in ("a", "b", "c")]
    await settle()
    numbers = {}
    for frame in child.heard[1:]:
        request, sent = read_asked(frame)
        numbers[request.q] = number_of(frame)
        assert sent.tolist() == vector.tolist()
    for q in ("c", "a"):
        child.told.put_nowait(answered(numbers[q], answer(q)))
    child.told.put_nowait(answered(numbers["b"], None))
    found = await asyncio.gather(*asking)

    assert [one and one.generation for one in found] == ["a", None, "c"]


async def test_a_process_that_dies_costs_no_answer_and_is_started_again_later(process):
    made, children, clock = process
    child = await serving(made, children)
    asking = asyncio.create_task(made(SearchRequest(q="a"), None))
    await settle()
    child.kill()

    assert await asking is None
    await settle()
    assert await made(SearchRequest(q="b"), None) is None
    assert len(children) == 1

    clock[0] += apart.AGAIN_S
    again = await serving(made, children)
    assert again is not child
    again.kill()
    await settle()
    clock[0] += apart.AGAIN_S  # it has answered nothing, so the pause is longer
    assert await made(SearchRequest(q="b"), None) is None
    await settle()
    assert len(children) == 2
    clock[0] += apart.AGAIN_S
    await serving(made, children)
    assert len(children) == 3


async def test_a_process_that_says_nothing_is_replaced_and_one_that_is_slow_is_not(
    process, monkeypatch
):
    made, children, clock = process
    child = await serving(made, children)
    monkeypatch.setattr(apart.asyncio, "timeout", lambda _: asyncio.timeout_at(0))

    clock[0] += apart.WITHIN_S
    child.told.put_nowait(answered(99, None))
    await settle()
    assert await made(SearchRequest(q="a"), None) is None
    assert not child.is_killed

    clock[0] += apart.WITHIN_S
    assert await made(SearchRequest(q="a"), None) is None
    assert child.is_killed


async def test_a_fault_of_the_other_process_is_logged_and_answered_here(process):
    made, children, _ = process
    child = await serving(made, children)
    asking = asyncio.create_task(made(SearchRequest(q="a"), None))
    await settle()
    number = number_of(child.heard[-1])
    with capture_logs() as lines:
        child.told.put_nowait(answered(number, None, "KeyError in somewhere:3"))
        assert await asking is None

    assert [line["error"] for line in lines] == ["KeyError in somewhere:3"]


async def test_an_answer_that_cannot_be_read_is_answered_here_and_not_quoted(process):
    made, children, _ = process
    child = await serving(made, children)
    asking = asyncio.create_task(made(SearchRequest(q="a"), None))
    await settle()
    with capture_logs() as lines:
        number = number_of(child.heard[-1])
        child.told.put_nowait(NUMBER.pack(number) + b'{"hits": "a secret text"}')
        assert await asking is None

    assert "secret" not in str(lines)
    assert [line["error"] for line in lines] == ["ValidationError"]


async def test_a_question_too_long_for_the_pipe_or_too_many_are_answered_here(process, monkeypatch):
    made, children, _ = process
    child = await serving(made, children)
    monkeypatch.setattr(apart, "MOST_WAITING", 2)
    long = SearchRequest(q="a", source=tuple("x" * 100 for _ in range(1_000)))
    assert await made(long, None) is None
    assert len(child.heard) == 1

    asking = [asyncio.create_task(made(SearchRequest(q="a"), None)) for _ in range(2)]
    await settle()
    assert await made(SearchRequest(q="b"), None) is None
    assert len(child.heard) == 3
    child.kill()
    assert await asyncio.gather(*asking) == [None, None]


async def test_pauses_between_starts_double_for_a_while_and_never_break(process):
    made, children, clock = process
    for _ in range(2_000):
        child = await serving(made, children)
        child.kill()
        await settle()
        clock[0] += apart.AGAIN_S * 2**apart.MOST_DOUBLED
    assert len(children) == 2_000


@pytest.mark.parametrize("told", [b"nonsense", b"x"])
async def test_a_process_that_says_nonsense_answers_nothing(process, told):
    made, children, _ = process
    child = await serving(made, children)
    asking = asyncio.create_task(made(SearchRequest(q="a"), None))
    await settle()
    child.told.put_nowait(told)
    await settle()
    child.told.put_nowait(None)

    assert await asking is None


async def test_where_none_starts_it_is_tried_again_later(process):
    made, children, clock = process
    start = made._start

    async def fails():
        raise TransientError("no room")

    made._start = fails
    assert await made(SearchRequest(q="a"), None) is None
    await settle()
    made._start = start
    assert await made(SearchRequest(q="a"), None) is None
    await settle()
    assert not children

    clock[0] += apart.AGAIN_S
    await serving(made, children)
    assert len(children) == 1


async def test_a_closed_one_starts_nothing(process):
    made, children, _ = process
    child = await serving(made, children)
    asking = asyncio.create_task(made(SearchRequest(q="a"), None))
    await settle()
    await made.close()

    assert await asking is None
    assert child.is_killed
    assert await made(SearchRequest(q="b"), None) is None
    assert len(children) == 1


def test_an_answer_that_is_too_long_is_made_in_the_parent(monkeypatch):
    monkeypatch.setattr(apart, "MOST_BYTES", 10)

    assert answered(3, answer("g")) == NUMBER.pack(3)


@pytest.mark.parametrize(
    ("url", "settings", "processors", "is_there"),
    [
        ("nats://x", {}, 2, True),
        ("nats://x", {"store": {"kind": "sqlite"}}, 2, True),
        ("nats://x", {"store": {"kind": "memory"}}, 2, False),
        ("nats://x", {"store": {"kind": "lancedb"}}, 2, False),
        ("nats://x", {}, 1, False),
        ("", {}, 2, False),
    ],
)
def test_it_is_there_beside_services_that_index_into_a_file(
    tmp_path, monkeypatch, url, settings, processors, is_there
):
    monkeypatch.setattr(build, "processors", lambda: processors)
    host = SimpleNamespace(bus_url=url, data=tmp_path, settings=Settings(**settings))
    opened = SimpleNamespace(host=host, generation=GENERATION, stack=AsyncExitStack())

    assert (build._apart(opened) is not None) is is_there
