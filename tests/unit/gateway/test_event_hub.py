"""Listeners: each hears every outcome once and in order, wherever it begins."""

import asyncio
import json
from pathlib import Path

import pytest
from memory_results import AT, MemoryResults, indexed, named

from services.gateway.events import hub as hub_module
from services.gateway.events.hub import EventHub
from services.gateway.events.stream import EventsRequest, event_bytes, resumed
from services.gateway.events.views import (
    BatchEvent,
    DocumentEvent,
    ValidationEvent,
    type_of,
    view_of,
)
from services.gateway.problems import Problem
from shared.domain.errors import BusUnavailable
from shared.domain.events import (
    BatchCompleted,
    DocumentFailed,
    DocumentNotTaken,
    DocumentRemoved,
    DocumentValidated,
)
from shared.domain.ids import doc_key
from shared.ports import StoredResult

GOLDEN = Path(__file__).parents[2] / "golden" / "v1"


def stored(event):
    return StoredResult(1, event.subject, event.model_dump_json().encode())


@pytest.fixture
def results():
    return MemoryResults()


@pytest.fixture
async def hub(results):
    made = EventHub(results)
    yield made
    made.close()


async def heard(hub, at, count):
    """The next events of a listener, and its place."""
    found = []
    async with asyncio.timeout(10):
        while len(found) < count:
            page = await hub.after(at, wait_s=10)
            found += page
            at = page[-1].sequence if page else at
    return [told.sequence for told in found], at


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (indexed(1), "searchable"),
        (indexed(1, is_active=False), "inactive"),
        (DocumentRemoved(**named(1), removed_at=AT), "removed"),
        (DocumentNotTaken(**named(1), code="empty", reason="it is empty"), "refused"),
        (DocumentFailed(**named(1), stage="embed", code="x", reason="why"), "failed"),
    ],
)
def test_an_outcome_is_told_with_the_state_and_the_receipt_of_its_document(event, state):
    view = view_of(stored(event))

    assert isinstance(view, DocumentEvent)
    assert view.state == state
    assert view.receipt == f"{doc_key('docs', '1.md')}-1"
    assert (view.reason is not None) == (state in ("refused", "failed"))
    assert type_of(view) == "document"


def test_a_document_that_was_refused_without_a_revision_has_no_receipt():
    fields = named(1)
    fields["document"] = fields["document"].model_copy(update={"revision": 0})
    refused = DocumentNotTaken(**fields, code="empty", reason="it is empty")

    assert view_of(stored(refused)).receipt is None


def test_validations_and_batches_are_types_of_their_own():
    validated = DocumentValidated(
        **named(1), validated_at=AT, validation_passed=True, expected_count=1, vector_count=1
    )
    completed = BatchCompleted(batch=named(1)["batch"], generation="g", completed_at=AT)

    assert isinstance(view_of(stored(validated)), ValidationEvent)
    assert isinstance(view := view_of(stored(completed)), BatchEvent)
    assert [type_of(view), view.complete, view.missing] == ["batch", True, 0]


@pytest.mark.parametrize(
    "file",
    sorted(
        path.name
        for path in GOLDEN.glob("*.json")
        if path.name.split(".")[1].split("-")[0]
        in ("indexed", "removed", "refused", "failed", "validated", "completed")
    ),
)
def test_every_outcome_that_was_ever_published_can_be_told(file):
    subject = ".".join([*file.split(".")[:1], file.split(".")[1].split("-")[0], "g", "docs"])

    assert view_of(StoredResult(1, subject, (GOLDEN / file).read_bytes())) is not None


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"schema":99}', b"[" * 10_000])
def test_garbage_is_no_event_and_stops_nobody(data):
    assert view_of(StoredResult(1, "documents.indexed.g.docs", data)) is None
    assert view_of(StoredResult(1, "batches.completed.g.docs", data)) is None
    assert view_of(StoredResult(1, "documents.unheard-of.g.docs", data)) is None


async def test_a_listener_hears_what_comes_after_it_began(hub, results):
    results.put(indexed(1))
    at = (await hub.bounds())[1]
    waiting = asyncio.create_task(heard(hub, at, 2))
    await asyncio.sleep(0)
    results.put(indexed(2))
    results.put(indexed(3))

    assert await waiting == ([2, 3], 3)


async def test_one_that_comes_back_hears_what_it_has_missed_and_then_the_rest(hub, results):
    for n in range(1, 250):
        results.put(indexed(n))
    waiting = asyncio.create_task(heard(hub, 100, 151))
    await asyncio.sleep(0)
    for n in range(250, 252):
        results.put(indexed(n))

    assert (await waiting)[0] == list(range(101, 252))


async def test_listeners_share_one_reading_of_the_stream(hub, results):
    at = (await hub.bounds())[1]
    waiting = [asyncio.create_task(heard(hub, at, 50)) for _ in range(40)]
    await asyncio.sleep(0.05)
    before = results.asked
    for n in range(1, 51):
        results.put(indexed(n))

    assert {tuple(found) for found, _ in await asyncio.gather(*waiting)} == {tuple(range(1, 51))}
    assert results.asked - before < 40 * 50 / 4


async def test_a_slow_listener_loses_nothing_though_memory_keeps_few(hub, results, monkeypatch):
    monkeypatch.setattr(hub_module, "KEPT", 10)
    small = EventHub(results, _recent=hub_module.deque(maxlen=10))
    at = (await small.bounds())[1]
    quick = asyncio.create_task(heard(small, at, 500))
    await asyncio.sleep(0)
    for n in range(1, 501):
        results.put(indexed(n))

    assert (await quick)[0] == list(range(1, 501))
    assert (await heard(small, 3, 497))[0] == list(range(4, 501))
    small.close()


async def test_an_unreadable_message_is_passed_over_and_the_place_moves_on(hub, results):
    results.put(indexed(1))
    results.put(b"no event")
    results.put(indexed(3))

    page = await hub.after(0, wait_s=1)

    assert [(told.sequence, told.view is None) for told in page] == [
        (1, False),
        (2, True),
        (3, False),
    ]


async def test_while_the_bus_is_away_nothing_is_lost(hub, results):
    at = (await hub.bounds())[1]
    waiting = asyncio.create_task(hub.after(at, wait_s=10))
    await asyncio.sleep(0)
    results.away = True
    results.put(indexed(1))
    assert await waiting == []
    with pytest.raises(BusUnavailable):
        await hub.after(at, wait_s=10)

    results.away = False

    assert (await heard(hub, at, 1))[0] == [1]


async def test_the_stream_is_left_alone_when_nobody_listens(hub, results, monkeypatch):
    monkeypatch.setattr(hub_module, "LOOK_S", 0.001)

    assert await hub.after(0, wait_s=0.01) == []
    async with asyncio.timeout(10):
        while hub._reading is not None:
            await asyncio.sleep(0.001)


def test_a_listener_chooses_types_and_source():
    view = view_of(stored(indexed(1)))

    assert EventsRequest().wants(view)
    assert EventsRequest(types="batch,document", source="docs").wants(view)
    assert not EventsRequest(types="batch").wants(view)
    assert not EventsRequest(source="other").wants(view)


def test_a_type_that_does_not_exist_is_refused_with_a_suggestion():
    with pytest.raises(ValueError, match="did you mean 'document'"):
        EventsRequest(types="documents")


def test_the_id_that_a_browser_remembers_counts_before_the_address():
    wanted = EventsRequest(after=3)

    assert resumed(wanted, None).after == 3
    assert resumed(wanted, "12").after == 12


@pytest.mark.parametrize("given", ["", "-1", "1.5", "abc", "٣", "9" * 30])
def test_an_id_that_is_none_is_refused(given):
    with pytest.raises(Problem, match="Last-Event-ID"):
        resumed(EventsRequest(), given)


def test_an_event_is_one_block_of_lines():
    data = json.dumps({"path": "a\nid: 7\n\nevent: x"})

    lines = event_bytes("document", data, 5).decode().split("\n")

    assert lines == ["event: document", "id: 5", f"data: {data}", "", ""]
