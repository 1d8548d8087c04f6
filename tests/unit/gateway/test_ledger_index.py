"""The index of the ledger says what reading all of the ledger would say, whatever has happened."""

import asyncio
import tracemalloc
from dataclasses import replace

import ledger_reading as reading
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_ledger import MemoryLedger

from services.gateway.documents import documents, failures
from services.gateway.models import STATES
from services.gateway.status import ledger_index
from services.gateway.status.ledger_index import LedgerIndex
from services.gateway.status.record_cache import RecordCache
from services.gateway.status.snapshots import LedgerWatch
from shared.bus.jetstream.buckets import Value
from shared.bus.jetstream.ledger import KvLedger, KvLedgerFeed
from shared.domain.codecs.record_codec import to_bytes
from shared.domain.errors import BusUnavailable
from shared.domain.ids import doc_key
from shared.domain.ordering import Failed, Pending, Reason, Record, RowRef, Settled
from shared.ports import FeedState

NOW = 1_800_000_000.0

rows = st.lists(st.builds(RowRef, st.sampled_from("abc"), st.integers(1, 3)), max_size=3).map(tuple)
times = st.floats(NOW - 8_000, NOW)
reasons = st.none() | st.builds(Reason, st.sampled_from(["empty", "no_text"]), st.text(max_size=3))
seqs = st.integers(1, 5)
outcomes = st.sampled_from(["indexed", "removed", "refused"])
settleds = st.builds(Settled, seqs, outcomes, rows, times, times, reasons)
pendings = st.builds(
    Pending, seqs, outcomes, rows, st.frozensets(st.nothing()) | rows.map(frozenset), times, times
)
broken = st.builds(Reason, st.text(max_size=3), st.text(max_size=3))
stages = st.sampled_from(["enrich", "index", "other"])
faileds = st.builds(Failed, seqs, stages, broken, st.booleans())
paths = st.sampled_from(["a.md", "b/c.md", "b/ü.md", "b.md", "b/\U0001f600.md", "b/\ufb01.md"])
names = st.tuples(st.sampled_from(["docs", "a", "wiki"]), paths)
contents = st.tuples(st.none() | settleds, st.none() | pendings, st.none() | faileds)
writes = st.tuples(st.just("write"), names, contents)
steps = st.one_of(
    writes,
    writes,
    writes,
    st.tuples(st.just("delete"), names),
    st.tuples(st.just("purge"), names),
    st.tuples(st.just("make anew")),
    st.tuples(st.just("break")),
    st.tuples(st.just("look")),
    st.tuples(st.just("read"), st.lists(names, max_size=4)),
    st.tuples(st.just("read"), st.lists(names, max_size=4)),
)


class Bucket:
    """A ledger whose keys can be deleted, vanish without a word, and be lost on the way."""

    def __init__(self):
        self.messages = {}
        self.at = 0
        self.life = 0
        self.begun = 0
        self.asked = []

    def write(self, key, record):
        self.at += 1
        self.messages.pop(key, None)
        self.messages[key] = (self.at, record)

    @property
    def records(self):
        return {key: record for key, (_, record) in self.messages.items() if record is not None}

    async def follow(self):
        self.begun += 1
        return Feed(self)

    async def get_many(self, keys):
        self.asked += keys
        return {key: self.records[key] for key in keys if key in self.records}


class Feed:
    def __init__(self, bucket):
        self.bucket, self.life, self.last = bucket, bucket.life, 0

    async def more(self):
        if self.life != self.bucket.life:
            raise BusUnavailable("the consumer is gone")
        new = [(at, key, r) for key, (at, r) in self.bucket.messages.items() if at > self.last]
        page = sorted(new, key=lambda one: one[0])[:2]
        if page:
            self.last = page[-1][0]
        return [(key, record) for _, key, record in page]

    async def state(self, keys):
        return FeedState(len(self.bucket.messages) == keys, self.last == self.bucket.at)

    async def close(self):
        pass


def do(bucket, step):
    match step:
        case "write", (source, path), (settled, pending, failed):
            record = Record(source, path, settled, pending, failed)
            bucket.write(doc_key(source, path), record)
        case "delete", name if doc_key(*name) in bucket.messages:
            bucket.write(doc_key(*name), None)
        case "purge", name:
            bucket.messages.pop(doc_key(*name), None)
        case ("make anew",):
            bucket.messages, bucket.at, bucket.life = {}, 0, bucket.life + 1
        case ("break",):
            bucket.life += 1


def assert_equal(index, records, asked):
    assert index.board(NOW) == reading.board(records, NOW)
    assert index.sources() == {record.source for record in records.values()}
    assert set(index.names()) == {(r.source, r.path) for r in records.values()}
    told = failures.of_ledger(index.of(*failures.NEED_SOMEBODY), {"docs"})
    assert {(f.id, f.document, f.state, f.code, f.stage, f.since) for f in told} == (
        reading.failures(records)
    )
    for fields in asked:
        found, total, more = index.page(**fields)
        lines = [documents.line(one).model_dump() for one in found]
        assert (lines, total, more) == reading.page(records, **fields)


pages = st.fixed_dictionaries(
    {
        "words": st.frozensets(st.sampled_from(STATES), max_size=2),
        "source": st.sampled_from(["", "", "docs", "none"]),
        "prefix": st.sampled_from(["", "", "b", "b/", "z"]),
        "stale": st.sampled_from([None, None, True, False]),
        "after": st.none() | names,
        "limit": st.integers(1, 5),
    }
)


@settings(deadline=None, max_examples=300)
@given(st.lists(steps, max_size=25), st.lists(pages, min_size=1, max_size=4), st.integers(1, 4))
def test_after_any_history_the_index_says_what_reading_the_ledger_says(history, asked, few):
    async def live():
        bucket = Bucket()
        watch = LedgerWatch(bucket)
        for step in [*history, ("look",)]:
            do(bucket, step)
            if step[0] == "read":
                keys = [doc_key(*name) for name in step[1]]
                wanted = {key: bucket.records[key] for key in keys if key in bucket.records}
                assert await watch.records(keys) == wanted
            if step == ("look",):
                assert_equal(await watch.current(), bucket.records, asked)

    before, ledger_index._FEW = ledger_index._FEW, few
    try:
        asyncio.run(live())
    finally:
        ledger_index._FEW = before


def settled(path, **fields):
    base = Settled(1, "indexed", (RowRef("a" * 26, 1),), NOW - 5, NOW - 4)
    return Record("docs", path, settled=replace(base, **fields))


async def test_a_record_is_read_once_until_it_changes():
    bucket = Bucket()
    watch = LedgerWatch(bucket)
    keys = [doc_key("docs", f"{n}.md") for n in range(3)]
    for n, key in enumerate(keys):
        bucket.write(key, settled(f"{n}.md"))
    before = await watch.records(keys)  # of the ledger itself: a question does not wait for all
    await watch.current()
    for _ in range(3):
        assert await watch.records(keys) == before
    changed = settled("1.md", seq=2, settled_at=NOW)
    bucket.write(keys[1], changed)

    assert await watch.records(keys) == {**before, keys[1]: changed}
    assert bucket.begun == 1
    assert bucket.asked == [*keys, *keys]


async def test_a_change_that_is_delivered_a_moment_late_is_read_from_the_ledger(monkeypatch):
    bucket = Bucket()
    watch = LedgerWatch(bucket)
    key = doc_key("docs", "a.md")
    bucket.write(key, settled("a.md"))
    await watch.current()
    await watch.records([key])
    new = settled("a.md", seq=2, settled_at=NOW)
    bucket.write(key, new)

    async def nothing(_):
        return []

    monkeypatch.setattr(Feed, "more", nothing)
    assert await watch.records([key]) == {key: new}


@pytest.mark.parametrize(("late", "asked"), [(2, 0), (3, 1)])
async def test_what_is_written_between_two_looks_is_read_on_before_the_ledger_is_asked(
    monkeypatch, late, asked
):
    bucket = Bucket()
    watch = LedgerWatch(bucket)
    key = doc_key("docs", "a.md")
    bucket.write(key, settled("a.md"))
    await watch.current()
    await watch.records([key])
    before, looks, state = len(bucket.asked), [], Feed.state

    async def looked(feed, keys):
        looks.append(keys)
        return (await state(feed, keys))._replace(is_current=len(looks) > late)

    monkeypatch.setattr(Feed, "state", looked)

    assert await watch.records([key]) == {key: settled("a.md")}
    assert len(bucket.asked) - before == asked


async def test_a_replica_that_lags_is_believed_once():
    bucket = Bucket()
    watch = LedgerWatch(bucket)
    key = doc_key("docs", "a.md")
    old, new = settled("a.md"), settled("a.md", seq=2, settled_at=NOW)
    bucket.write(key, old)
    await watch.current()
    bucket.write(key, new)
    answer = bucket.get_many

    async def lagging(keys):
        await answer(keys)
        return {key: old}

    bucket.get_many = lagging
    assert await watch.records([key]) == {key: old}
    bucket.get_many = answer
    assert await watch.records([key]) == {key: new}


async def test_records_that_nobody_asked_for_long_go_first():
    cache = RecordCache(most_rows=6)  # a record of one row counts as two
    records = {name: settled(f"{name}.md") for name in "abcd"}
    for name in "abc":
        cache.keep(name, records[name])
    cache.of("a")
    cache.keep("d", records["d"])
    cache.put("e", records["d"])

    assert cache.of("abcde") == {name: records[name] for name in "acd"}


async def test_what_changes_is_read_and_nothing_else():
    bucket = Bucket()
    watch = LedgerWatch(bucket)
    for n in range(10):
        bucket.write(doc_key("docs", f"{n}.md"), settled(f"{n}.md"))
    index = await watch.current()
    bucket.write(doc_key("docs", "3.md"), settled("3.md", outcome="refused", rows=()))

    assert await watch.current() is index
    assert bucket.begun == 1
    assert index.board(NOW).documents == {"searchable": 9, "refused": 1}


async def test_an_outage_is_told_and_after_it_everything_is_read_anew():
    bucket = Bucket()
    watch = LedgerWatch(bucket)
    bucket.write(doc_key("docs", "a.md"), settled("a.md"))
    before = await watch.current()
    follow, bucket.follow = bucket.follow, away
    bucket.life += 1
    with pytest.raises(BusUnavailable):
        await watch.current()
    bucket.follow = follow
    bucket.write(doc_key("docs", "b.md"), settled("b.md"))
    after = await watch.current()

    assert (before.board(NOW).chunks, after.board(NOW).chunks) == (1, 2)


async def away():
    raise BusUnavailable("no answer")


async def test_one_who_gives_up_in_the_middle_leaves_nothing_half_read():
    bucket = Bucket()
    watch = LedgerWatch(bucket)
    for n in range(10):
        bucket.write(doc_key("docs", f"{n}.md"), settled(f"{n}.md"))
    gate, more = asyncio.Event(), Feed.more

    async def slow(feed):
        page = await more(feed)
        await gate.wait()
        return page

    Feed.more = slow
    try:
        asking = asyncio.create_task(watch.current())
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    finally:
        Feed.more = more

    assert (await watch.current()).board(NOW).chunks == 10


async def slow_feed(monkeypatch):
    """The number of readings that began, and what lets the one under way go on."""
    begun, gate, more = [], asyncio.Event(), Feed.more

    async def slow(feed):
        page = await more(feed)
        if page:
            begun.append(len(page))
            await gate.wait()
        return page

    monkeypatch.setattr(Feed, "more", slow)
    return begun, gate


async def test_all_who_ask_while_another_reads_share_the_next_reading(monkeypatch):
    bucket = Bucket()
    watch = LedgerWatch(bucket)
    key = doc_key("docs", "a.md")
    bucket.write(key, settled("a.md"))
    await watch.current()
    await watch.records([key])
    begun, gate = await slow_feed(monkeypatch)
    bucket.write(key, settled("a.md", seq=2, settled_at=NOW))
    first = asyncio.create_task(watch.records([key]))
    await asyncio.sleep(0)
    newest = settled("a.md", seq=3, settled_at=NOW)
    bucket.write(key, newest)
    looks, state = [], Feed.state

    async def looked(feed, keys):
        looks.append(keys)
        return await state(feed, keys)

    monkeypatch.setattr(Feed, "state", looked)
    others = [asyncio.create_task(watch.records([key])) for _ in range(20)]
    await asyncio.sleep(0)
    gate.set()

    assert await asyncio.gather(first, *others) == [{key: newest}] * 21
    assert len(begun) <= 2
    assert len(looks) == 2


async def test_one_who_gives_up_in_the_middle_leaves_those_who_wait_no_old_answer(monkeypatch):
    bucket = Bucket()
    watch = LedgerWatch(bucket)
    key = doc_key("docs", "a.md")
    bucket.write(key, settled("a.md"))
    await watch.current()
    await watch.records([key])
    _, gate = await slow_feed(monkeypatch)
    new = settled("a.md", seq=2, settled_at=NOW)
    bucket.write(key, new)
    impatient = asyncio.create_task(watch.records([key]))
    await asyncio.sleep(0)
    others = [asyncio.create_task(watch.records([key])) for _ in range(3)]
    counting = asyncio.create_task(watch.current())
    await asyncio.sleep(0)
    impatient.cancel()
    gate.set()

    assert await asyncio.gather(*others) == [{key: new}] * 3
    assert (await counting).is_at(key, new)


async def test_the_ledger_in_memory_is_followed_too():
    ledger = MemoryLedger()
    watch = LedgerWatch(ledger)
    key = doc_key("docs", "a.md")
    at = await ledger.update(key, settled("a.md"), expect=0)
    first = (await watch.current()).board(NOW).documents
    await ledger.update(key, settled("a.md", outcome="refused", rows=()), expect=at)

    assert first == {"searchable": 1}
    assert (await watch.current()).board(NOW).documents == {"refused": 1}


@pytest.mark.parametrize(
    "record",
    [
        settled("a.md", settled_at=float("nan")),
        settled("a.md", changed_at=1e300),
        settled("a.md", settled_at="yesterday"),
        Record(None, "a.md"),
        Record("docs", 5),
    ],
)
def test_a_record_of_nonsense_hides_its_document_and_no_other(record):
    index = reading.index_of(settled("b.md"), record)

    assert [one.path for one in index.page(limit=9)[0]] == ["b.md"]
    assert index.board(NOW).documents == {"searchable": 1}


def test_keys_that_no_document_can_have_are_counted_and_not_shown():
    index = reading.index_of(settled("b.md"))
    index.put("somebody's", settled("c.md"))
    index.put("somebody's", None)

    assert (len(index), index.board(NOW).documents) == (2, {"searchable": 1})


def test_a_document_takes_less_than_200_bytes():
    count, record = 20_000, settled("a.md")
    tracemalloc.start()
    index = LedgerIndex()
    for n in range(count):
        path = f"guide/section {n // 100}/a page of the manual {n}.md"
        index.put(doc_key("docs", path), replace(record, path=path))
    index.page(limit=1)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert size / count < 200


def test_names_are_those_of_the_moment_they_were_asked_for():
    index = LedgerIndex()
    index.put(doc_key("docs", "a.md"), Record("docs", "a.md"))
    names = index.names()
    index.put(doc_key("docs", "b.md"), Record("docs", "b.md"))

    assert set(names) == {("docs", "a.md")}


LONG = Settled(1, "indexed", tuple(RowRef("a" * 26, n) for n in range(1, 2_000)), NOW, NOW, None)


class Full:
    """A bucket of records with many rows, which come without any wait."""

    found = tuple(
        (doc_key("docs", str(n)), to_bytes(Record("docs", str(n), LONG))) for n in range(5)
    )

    async def more(self):
        return self.found

    async def items(self):
        for key, data in self.found:
            yield key, Value(data, 1)


async def followed(bucket):
    return [change.doc_key for change in await KvLedgerFeed(bucket).more()]


async def gone_through(bucket):
    ledger = KvLedger(None, "gtest")
    ledger._bucket = bucket
    return [key async for key, _ in ledger.entries()]


@pytest.mark.parametrize("read", [followed, gone_through])
async def test_others_have_their_turn_while_long_records_are_read(read):
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(other())
    found = await read(Full())
    others.cancel()

    assert found == [key for key, _ in Full.found]
    assert turns >= len(found) - 1


def test_a_part_is_sorted_by_nobody_before_its_names_are_asked_for_and_then_once_for_all():
    index = LedgerIndex()
    for n in range(6):
        source = "docs" if n % 2 else "wiki"
        settled = Settled(1, "indexed", (), NOW, NOW)
        index.put(doc_key(source, f"{n}.md"), Record(source, f"{n}.md", settled, None, None))
    parts = [index.only({"docs"}), index.only({"wiki"})]
    for part in parts:
        part.board(0.0)
    before = index._order
    pages = [[one.path for one in part.page(limit=9)[0]] for part in parts]
    order = index._order
    parts[0].page(limit=9)

    assert before is None
    assert order is not None
    assert order is index._order
    assert all(part._order is None for part in parts)
    assert pages == [["1.md", "3.md", "5.md"], ["0.md", "2.md", "4.md"]]
