"""Whatever is kept about something of a generation or a source has a key of its own."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_kv import MemoryShelf
from memory_ledger import MemoryLedger
from report_world import record, report

from services.enricher.recut import Recut
from services.producer.removals.held import about
from services.producer.sources.listing import NEVER_READ
from services.producer.sources.listing_store import KeptListing
from services.validator.sweep.sweeper import Filled, Sweeper
from shared.batches.history import History
from shared.batches.members import BatchBook
from shared.batches.reports import Validation
from shared.bus.access.permissions import inbox_of, source_of
from shared.bus.jetstream.buckets import check_key
from shared.bus.monitor.watched import Watched
from shared.bus.monitor.watchers import tell
from shared.domain.events import Batch, BatchCompleted
from shared.domain.ids import cache_key, doc_key
from shared.domain.services import lanes, stages
from shared.domain.topology import ledger_bucket
from shared.observe.progress import Progress
from shared.settings import Chunking, SourceChunking
from shared.stores.weaviate.schema import alias_name, collection_name

START = datetime(2026, 1, 1, tzinfo=UTC)
SOURCES = ("a", "a-b", "a-b-c", "ab", "b", "v", "new", "root", "held", "g1", "0", "a" * 40)
GENERATIONS = ("g1", "g11", "gabcdefgh", "gabcdefg2")
IDS = (
    "", "b", "b.c", "b/c", "b c", " b", "b\n", "*", ">", "..", "all", "last", "g1", "a.b",
    "b:1 missing", "\u00e9", "e\u0301", "\U0001f600", "\x00", "x" * 500, "x" * 501,
)  # fmt: skip

ids = st.one_of(st.sampled_from(IDS), st.text(max_size=500))
sources = st.one_of(
    st.sampled_from(SOURCES), st.from_regex(r"[a-z0-9][a-z0-9-]{0,39}", fullmatch=True)
)
generations = st.one_of(
    st.sampled_from(GENERATIONS), st.from_regex(r"g[a-z2-7]{8}", fullmatch=True)
)
batches = st.tuples(generations, sources, ids)


class Recording(MemoryShelf):
    """Remembers every key that was ever written."""

    def __init__(self):
        super().__init__()
        self.written = set()

    async def put(self, key, value):
        self.written.add(key)
        await super().put(key, value)


def apart(make, one, other):
    """Both make keys, a bucket can hold them, and none is a key, or below a key, of the other."""
    first, second = (asyncio.run(make(*which)) for which in (one, other))
    assert first
    assert all(check_key(key) == key for key in first | second)
    assert not first & second


async def of_batch(generation, source, batch_id):
    """Keys of a batch from its announcement to its report, and of one that is given up."""
    shelf = Recording()
    batch = Batch(id=batch_id, count=2, source=source, started_at=START)
    book, history = BatchBook(shelf, generation), History(shelf)
    await book.announce(batch, {"d" * 26: 1}, 0)
    await book.join(batch, "e" * 26, 2)
    await book.set_aside(batch)
    ended = report([record("a.md")], generation=generation).model_copy(update={"batch": batch})
    await history.keep(ended)
    # the writer of a joined note is random, so its folder stands for it
    return {k.rsplit(".", 2)[0] if k.startswith(("open.", "left.")) else k for k in shelf.written}


@given(batches, batches)
def test_two_batches_share_no_key(one, other):
    if one != other:
        apart(of_batch, one, other)


@given(batches, batches)
def test_the_ends_of_two_batches_are_two_facts(one, other):
    def ends(generation, source, batch_id):
        batch = Batch(id=batch_id, count=1, source=source, started_at=START)
        event = BatchCompleted(batch=batch, generation=generation, completed_at=START)
        later = batch.model_copy(update={"started_at": START + timedelta(days=1)})
        short = event.model_copy(update={"complete": False, "missing": 1})
        return {e.message_id for e in (event, short, event.model_copy(update={"batch": later}))}

    assert len(ends(*one)) == 3
    assert all(name.isascii() and name.isprintable() for name in ends(*one))
    if one != other:
        assert not ends(*one) & ends(*other)


async def of_source(source):
    """Keys of what is kept about a folder."""
    shelf = Recording()
    listing = KeptListing(shelf, source)
    paths = [f"{n}.md" for n in range(60)]
    for path in paths:
        listing.put(path, NEVER_READ)
    await listing.intend(paths)
    await listing.save()
    await listing.keep_root((1, 2))
    await listing.hold(about(START.isoformat(), paths, 2_000))
    await tell(shelf, Watched(source, 0.0, listed=True))
    return shelf.written


@given(sources, sources)
def test_two_sources_share_no_key(one, other):
    if one != other:
        apart(of_source, (one,), (other,))


@dataclass
class Named:
    """Stands for the sweep of a generation."""

    generation: str


class Ended:
    """Stands for what a sweep found."""

    at = START

    def note(self):
        return {}


async def never():
    raise AssertionError


async def of_generation(generation):
    """Keys of what is kept about a generation as a whole."""
    shelf = Recording()
    default = Chunking()
    recut = Recut(generation, default, MemoryLedger(), None, shelf, Progress())
    await recut({"docs": SourceChunking(tokens=99)})
    await Filled(None, shelf, generation).note("i")
    sweeper = Sweeper(Named(generation), shelf, lambda: START, 0, never, never, never)
    await sweeper._keep(Ended())
    await History(shelf).judge(
        [Validation(kind="validate", at=START, source="", generation=generation, passed=True)]
    )
    # the run of `validate` is random
    keys = {k.rpartition(".")[0] if ".v." in k else k for k in shelf.written}
    return (
        keys
        | {ledger_bucket(generation).name, collection_name("Instep", generation)}
        | {stage.name for stage in lanes(stages(generation)) if stage.name != "accept"}
    )


@given(generations, generations)
def test_two_generations_share_no_key(one, other):
    if one != other:
        apart(of_generation, (one,), (other,))


@given(st.tuples(sources, st.text(max_size=300)), st.tuples(sources, st.text(max_size=300)))
def test_two_documents_share_no_key(one, other):
    same = one[0] == other[0] and doc_key("x", one[1]) == doc_key("x", other[1])

    assert (doc_key(*one) == doc_key(*other)) == same


@given(st.tuples(generations, st.text()), st.tuples(generations, st.text()))
def test_two_texts_or_models_share_no_vector(one, other):
    assert (cache_key(*one) == cache_key(*other)) == (one == other)


@given(sources, sources)
def test_two_publishers_share_no_inbox_and_each_is_of_its_source(one, other):
    names = [f"publisher-{source}" for source in (one, other)]

    assert [source_of(name) for name in names] == [one, other]
    assert (inbox_of(names[0]) == inbox_of(names[1])) == (one == other)


@given(generations)
def test_no_generation_is_taken_for_the_name_of_the_live_one(generation):
    assert collection_name("Instep", generation) != alias_name("Instep")


@pytest.mark.parametrize("source", ["b", "v", "g1", "0000000000001"])
async def test_a_source_may_be_called_like_any_part_of_a_key(source):
    shelf = MemoryShelf()
    history = History(shelf)
    ended = report([record("a.md")], id="x")
    ended = ended.model_copy(update={"batch": ended.batch.model_copy(update={"source": source})})
    await history.keep(ended)
    verdict = Validation(kind="validate", at=START, source=source, generation="g", passed=True)
    await history.judge([verdict])

    assert await history.reports("x", source) == {source: ended}
    assert [line.batch.source for line in (await history.history(source))[0]] == [source]
    assert len((await history.validations(source))[0]) == 2
