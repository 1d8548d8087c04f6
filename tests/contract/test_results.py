"""What everything promises that reads RESULTS: the one in memory, and the one on a real server."""

import pytest
from memory_results import MemoryResults, indexed
from nats.js.api import StreamConfig

from shared.bus.admin.configs import stream_config
from shared.bus.admin.provision import ensure_stream
from shared.bus.jetstream.results import JetResults
from shared.domain.errors import BusUnavailable
from shared.domain.events import DocumentIndexed
from shared.domain.topology import STREAMS


class InMemory:
    def __init__(self):
        self.results = MemoryResults()

    async def put(self, event):
        return self.results.put(event)

    async def lose(self, count):
        self.results.lose(count)


class OnServer:
    def __init__(self, js):
        self.js, self.results = js, JetResults(js, "g")

    async def put(self, event):
        return (await self.js.publish(event.subject, event.model_dump_json().encode())).seq

    async def lose(self, count):
        first = (await self.js.stream_info("RESULTS")).state.first_seq
        await self.js.purge_stream("RESULTS", seq=first + count)


async def memory(request):
    return InMemory()


async def server(request):
    js = request.getfixturevalue("js")
    await ensure_stream(js, stream_config(next(s for s in STREAMS if s.name == "RESULTS")))
    return OnServer(js)


@pytest.fixture(
    params=[memory, pytest.param(server, marks=pytest.mark.nats)], ids=lambda make: make.__name__
)
def make(request):
    if request.param is server:
        request.getfixturevalue("js")
    return request.param


@pytest.fixture
async def world(make, request):
    return await make(request)


async def test_an_empty_stream_has_nothing_and_counts_from_its_end(world):
    assert await world.results.next(0) is None
    oldest, newest = await world.results.bounds()
    assert oldest in (newest, newest + 1)
    assert await world.results.next(newest) is None


async def test_messages_of_one_source_are_found_among_others(world):
    def of_wiki(n):
        event = indexed(n)
        document = event.document.model_copy(update={"source": "wiki"})
        return event.model_copy(update={"document": document})

    await world.put(indexed(1))
    wanted = await world.put(of_wiki(2))
    await world.put(indexed(3))

    found = await world.results.next(0, "wiki")

    assert (found.sequence, found.subject) == (wanted, "documents.indexed.g.wiki")
    assert await world.results.next(wanted, "wiki") is None
    assert await world.results.next(0, "wik") is None


async def test_messages_follow_each_other_by_their_sequence(world):
    first = await world.put(indexed(1))
    second = await world.put(indexed(2))

    found = await world.results.next(0)
    after = await world.results.next(first)

    assert (found.sequence, after.sequence) == (first, second)
    assert found.subject == "documents.indexed.g.docs"
    assert DocumentIndexed.model_validate_json(after.data).document.path == "2.md"
    assert await world.results.next(second) is None


async def test_the_oldest_go_and_reading_goes_on_behind_them(world):
    sequences = [await world.put(indexed(n)) for n in range(4)]

    await world.lose(2)

    assert (await world.results.next(0)).sequence == sequences[2]
    assert await world.results.bounds() == (sequences[2], sequences[3])


async def test_a_stream_that_has_lost_all_still_knows_its_end(world):
    sequences = [await world.put(indexed(n)) for n in range(3)]

    await world.lose(3)

    assert await world.results.next(0) is None
    assert await world.results.bounds() == (sequences[-1] + 1, sequences[-1])


@pytest.mark.nats
async def test_results_of_other_generations_are_passed_over(js):
    world = await server_of(js)
    await world.put(indexed(1, generation="older"))
    mine = await world.put(indexed(2))
    await world.put(indexed(3, generation="older"))

    assert (await world.results.next(0)).sequence == mine
    assert await world.results.next(mine) is None


@pytest.mark.nats
async def test_a_missing_stream_is_told(js):
    await js.add_stream(StreamConfig(name="OTHER", subjects=["other"]))

    with pytest.raises(BusUnavailable, match="RESULTS"):
        await JetResults(js, "g").next(0)


async def server_of(js):
    await ensure_stream(js, stream_config(next(s for s in STREAMS if s.name == "RESULTS")))
    return OnServer(js)
