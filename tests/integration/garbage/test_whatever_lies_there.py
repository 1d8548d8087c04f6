"""Garbage at every place where something is stored: nobody stops, and it is repaired or told.

Each place is filled as its owner fills it; then something else lies there. What follows is the same
over memory and on a real server, wherever there is an adapter of both kinds.
"""

import json
import math
import os
import zlib
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from memory_change_log import MemoryChangeLog
from memory_content import MemoryContent
from memory_kv import MemoryShelf
from memory_ledger import MemoryLedger
from memory_vector_cache import MemoryCache
from structlog.testing import capture_logs

from services.embedder.embed import Embed
from services.enricher.recut import MADE_BY, VERSIONS, Recut
from services.host.data_folder import DataFolder, Instance, is_original, mark_original
from services.producer.accept import AcceptFile, says_the_same
from services.producer.collect import NOTE, CollectBodies
from services.producer.removals.held import HeldNote, about
from services.producer.sources.listing import Seen, shard_of
from services.producer.sources.listing_store import KeptListing
from services.producer.sources.port import Body, Version
from services.validator.sweep.sweeper import PREFIX, SWEPT, Filled, Sweeper
from shared.batches.history import History, _done, _line
from shared.batches.members import BatchBook
from shared.batches.reports import BatchReport, Documents
from shared.bus.admin.provision import provision
from shared.bus.delivery import dead_letters
from shared.bus.delivery.failure_notes import Trouble
from shared.bus.delivery.notes_bucket import Troubles
from shared.bus.jetstream.change_log import JetChangeLog
from shared.bus.jetstream.content import ObjectContent
from shared.bus.jetstream.kv import KvShelf
from shared.bus.jetstream.ledger import KvLedger
from shared.bus.jetstream.vector_cache import KvCache
from shared.bus.monitor import watchers
from shared.bus.monitor.watched import Watched, all_listed
from shared.domain.codecs.record_codec import to_bytes
from shared.domain.errors import ConfigurationError, LedgerConflict, MalformedEvent
from shared.domain.events import (
    Batch,
    Document,
    DocumentChanged,
    DocumentEnriched,
    Inline,
    PartRow,
    cache_keys,
)
from shared.domain.ids import content_hash, doc_key
from shared.domain.ordering import Revision, revise
from shared.domain.topology import BATCHES, INSTANCE, LISTINGS
from shared.encoders.fake import FakeEncoder
from shared.generation import Generation
from shared.live import LIVE, live_generation
from shared.observe.progress import Progress
from shared.ports import Delivery, UnreadableChange
from shared.repair import resubmit
from shared.settings import Chunking, SourceChunking

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY, OTHER = doc_key("docs", "a.md"), doc_key("docs", "b.md")
BATCH = Batch(id="one", count=1, source="docs", started_at=NOW)
BODY = b"a body, " * 50_000
INFINITE = b'{"at": 1e999, "up_to": 1e999, "killed": 1e999, "failures": 1e999, "vanished": 1e999}'


# -- what lies there instead -----------------------------------------------------------------------

JSON = {
    "null": b"null",
    "a list": b"[]",
    "an object": b"{}",
    "an acknowledgement": b'{"stream":"DOCS","seq":7}',
    "infinite numbers": INFINITE,
    "no end of lists": b"[" * 100_000,
}
BYTES = {"nothing": b"", "binary": b"\xff\x00\x9c" * 7, "text": b"not JSON"}


def half(good):
    return good[: len(good) // 2]


def newer(good):
    """The same of the next schema, where it says of which it is."""
    try:
        raw = json.loads(good)
    except ValueError:
        raw = json.loads(zlib.decompress(good))
        return zlib.compress(json.dumps(_next(raw)).encode())
    return json.dumps(_next(raw)).encode()


def _next(raw):
    if isinstance(raw, dict) and "report" in raw:
        return {**raw, "report": _next(raw["report"])}
    return {**raw, "schema": 2} if isinstance(raw, dict) else [2, *raw[1:]]


def spoilt(how, good, *, packed):
    if how in BYTES:
        return BYTES[how]
    if how == "half of it":
        return half(good)
    if how == "a newer schema":
        return newer(good)
    return zlib.compress(JSON[how]) if packed else JSON[how]


WAYS = [*BYTES, *JSON, "half of it", "a newer schema"]


# -- the adapters ----------------------------------------------------------------------------------


class Memory:
    """Every adapter in memory."""

    def __init__(self, js=None):
        self.changes, self.ledger = MemoryChangeLog(), MemoryLedger()
        self.cache, self.bodies = MemoryCache(), MemoryContent()
        self.shelves = {}

    async def shelf(self, bucket):
        return self.shelves.setdefault(bucket, MemoryShelf())

    async def write_change(self, key, data):
        return self.changes.write("docs", key, data)

    async def write_record(self, key, data):
        self.ledger.write(key, data)

    async def write_vector(self, key, data):
        self.cache._vectors[key] = np.frombuffer(data[: len(data) // 4 * 4], "<f4")


class OnNats:
    """Every adapter on a real server."""

    def __init__(self, js):
        self.js = js
        self.changes, self.ledger = JetChangeLog(js), KvLedger(js, "g1")
        self.cache, self.bodies = KvCache(js), ObjectContent(js)

    async def shelf(self, bucket):
        return KvShelf(self.js, bucket.name)

    async def write_change(self, key, data):
        return (await self.js.publish(f"documents.changed.docs.{key}", data)).seq

    async def write_record(self, key, data):
        await self.js.publish(f"$KV.ledger_g1.{key}", data)

    async def write_vector(self, key, data):
        await self.js.publish(f"$KV.embcache.{key}", data)


@pytest.fixture(
    params=[Memory, pytest.param(OnNats, marks=pytest.mark.nats)], ids=["memory", "nats"]
)
def kind(request):
    if request.param is OnNats:
        request.getfixturevalue("js")
    return request.param


@pytest.fixture
async def world(kind, request):
    if kind is Memory:
        return Memory()
    js = request.getfixturevalue("js")
    await provision(js, generation="g1")
    made = OnNats(js)
    await made.ledger.open()
    await made.cache.open()
    return made


@pytest.fixture
async def nats_world(js):
    await provision(js, generation="g1")
    return OnNats(js)


def change(path="a.md", **more):
    return DocumentChanged(
        document=Document(source="docs", path=path, doc_key=doc_key("docs", path), changed_at=NOW),
        batch=BATCH,
        op="upserted",
        content=Inline(data="text"),
        content_hash=content_hash(b"text"),
        **more,
    )


async def append(world, one=None, *, expect=0, name="first"):
    return await world.changes.append(one or change(), expect=expect, message_id=name)


# -- DOCS ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", WAYS)
async def test_a_change_that_cannot_be_read_has_its_sequence_and_is_replaced(world, how):
    await append(world)
    good = change(intake=9, source_version=4).model_dump_json().encode()
    at = await world.write_change(KEY, spoilt(how, good, packed=False))

    newest = await world.changes.newest("docs", KEY)
    assert newest.sequence == at
    assert isinstance(newest.change, UnreadableChange)
    assert (newest.change.reason.code == "newer_schema") == (how == "a newer schema")
    assert (newest.change.intake == 9) == (how == "a newer schema")
    assert says_the_same(newest, None) is None
    assert await resubmit(world.changes, "docs", KEY, generation="g1") is None
    assert await world.changes.bodies() == set()
    assert [found async for found in world.changes.sequences()] == [("docs", KEY, at)]

    again = await append(world, expect=newest.sequence, name="again")
    assert (await world.changes.newest("docs", KEY)).readable.document.revision == again > at


@pytest.mark.parametrize("how", WAYS)
async def test_a_file_takes_the_place_of_a_change_that_cannot_be_read(world, how):
    await append(world)
    good = change(intake=9, source_version=4).model_dump_json().encode()
    await world.write_change(KEY, spoilt(how, good, packed=False))
    body = Body(Version(4, 0, 0, 1), 0, content_hash(b"text"), b"text", "file:///a.md")

    async def look():
        return body

    accept = AcceptFile("docs", world.changes, world.bodies, lambda: NOW)
    first = await accept("a.md", look, BATCH, known=True)
    second = await accept("a.md", look, BATCH, known=True)
    newest = await world.changes.newest("docs", KEY)

    assert (first.word, second.word) == ("accepted", "unchanged")
    assert newest.sequence == first.revision
    assert newest.readable.source_version == (4 if how == "a newer schema" else None)


async def test_a_change_under_the_key_of_another_document_is_none(world):
    forged = change("b.md").model_dump_json().encode()
    await world.write_change(KEY, forged)

    assert (await world.changes.newest("docs", KEY)).readable is None


# -- the ledger ------------------------------------------------------------------------------------


def record(path="a.md", seq=7):
    wanted = Revision(seq, "removed", (), 0.0)
    return revise(None, wanted, source="docs", path=path, now=0.0)


@pytest.mark.parametrize("how", WAYS)
async def test_a_record_that_cannot_be_read_is_absent_told_of_and_replaced(world, how):
    await world.ledger.update(OTHER, record("b.md"), expect=0)
    await world.write_record(KEY, spoilt(how, to_bytes(record()), packed=False))

    assert await world.ledger.get(KEY) is None
    assert list(await world.ledger.get_many([KEY, OTHER])) == [OTHER]
    found = {key: one async for key, one in world.ledger.entries()}
    assert found == {KEY: None, OTHER: record("b.md")}

    await world.ledger.update(KEY, record(seq=8), expect=0)
    assert (await world.ledger.get(KEY)).record == record(seq=8)
    with pytest.raises(LedgerConflict):
        await world.ledger.update(KEY, record(seq=9), expect=0)


# -- the producer's notes --------------------------------------------------------------------------


def seen(n):
    return Seen(Version(n, n, n, n), n, "hash", n)


async def kept(world):
    listing = KeptListing(await world.shelf(LISTINGS), "docs")
    await listing.load()
    return listing


@pytest.mark.parametrize("how", WAYS)
async def test_a_part_of_a_listing_that_cannot_be_read_is_missing_and_doubtful(world, how):
    shelf, listing = await world.shelf(LISTINGS), await kept(world)
    for n in range(8):
        listing.put(f"{n}.md", seen(n))
    await listing.save()
    name = f"docs.{shard_of('3.md'):02x}"
    await shelf.put(name, spoilt(how, await shelf.get(name), packed=True))

    again = await kept(world)

    assert again.doubtful
    assert {f"{n}.md" for n in range(8)} - again.entries.keys() == {"3.md"}
    again.put("3.md", seen(3))
    await again.save()
    assert not (await kept(world)).doubtful


@pytest.mark.parametrize("how", WAYS)
async def test_intended_files_that_cannot_be_read_are_doubtful(world, how):
    shelf, listing = await world.shelf(LISTINGS), await kept(world)
    listing.put("a.md", seen(1))
    await listing.save()
    await listing.intend(["b.md"])
    name = "docs.new.0"
    bad = (
        zlib.compress(b"[7]")
        if how == "a list"
        else spoilt(how, await shelf.get(name), packed=True)
    )
    await shelf.put(name, bad)

    assert (await kept(world)).doubtful


@pytest.mark.parametrize("how", WAYS)
async def test_a_root_that_cannot_be_read_is_not_known(world, how):
    shelf = await world.shelf(LISTINGS)
    await shelf.put("docs.root", spoilt(how, b"[12, 345678]", packed=False))

    assert await (await kept(world)).root() in (None, (2, 345678))


@pytest.mark.parametrize("how", WAYS)
async def test_held_removals_that_cannot_be_read_are_decided_anew(world, how):
    shelf = await world.shelf(LISTINGS)
    held = HeldNote(shelf, "docs")
    await held.load()
    await held.put(about(NOW.isoformat(), {"a.md", "b.md"}, 9, kept=True))
    good = await shelf.get("docs.held")
    await shelf.put("docs.held", spoilt(how, good, packed=False))

    found = await HeldNote(shelf, "docs").load()
    assert found is None or how == "a newer schema"

    await shelf.put("docs.held", good)
    (part,) = await shelf.keys("docs.held.")
    await shelf.put(part, spoilt(how, zlib.compress(b"[1, 2]"), packed=True))
    found = await HeldNote(shelf, "docs").load()
    assert (found.paths, found.kept, found.vanished) == (frozenset(), False, 2)


@pytest.mark.parametrize("how", [*WAYS, "no time zone"])
async def test_a_note_of_unneeded_bodies_that_cannot_be_read_is_made_anew(world, how):
    shelf = await world.shelf(INSTANCE)
    name = await world.bodies.put(BODY)
    later = datetime.now(UTC) + timedelta(hours=2)
    collect = CollectBodies(world.changes, world.bodies, shelf, lambda: later)
    await collect()
    good = await shelf.get(NOTE)
    naive = json.dumps({"at": "2026-01-01", "names": []}).encode()
    await shelf.put(NOTE, naive if how == "no time zone" else spoilt(how, good, packed=False))
    collect_later = CollectBodies(
        world.changes, world.bodies, shelf, lambda: later + timedelta(hours=1)
    )
    last = CollectBodies(world.changes, world.bodies, shelf, lambda: later + timedelta(hours=2))

    assert await collect_later() + await last() == 1
    assert name not in await world.bodies.stored()


# -- bodies ----------------------------------------------------------------------------------------


@pytest.mark.nats
@pytest.mark.parametrize("how", WAYS)
async def test_a_body_whose_description_cannot_be_read_is_gone_until_it_is_put_again(
    nats_world, how
):
    bodies, js = nats_world.bodies, nats_world.js
    name = await bodies.put(BODY)
    subject = bodies._description(name)
    good = (await js.get_last_msg("OBJ_bodies", subject)).data
    bad = good.replace(b"nuid", b"knot") if how == "a newer schema" else None
    data = bad or spoilt(how, good, packed=False)
    await js.publish(subject, data, headers={"Nats-Rollup": "sub"})
    await js.publish("$O.bodies.M.%%%", b"a name of nobody's")

    with pytest.raises(KeyError):
        await bodies.get(name)
    assert list(await bodies.stored()) == [name]

    assert await bodies.put(BODY) == name
    assert await bodies.get(name) == BODY


@pytest.mark.nats
@pytest.mark.parametrize("how", ["lost", "added"])
async def test_a_body_that_is_not_whole_is_put_again(nats_world, how):
    bodies, js = nats_world.bodies, nats_world.js
    name = await bodies.put(BODY)
    chunks = bodies._chunks(await bodies._described(name))
    if how == "added":
        await js.publish(chunks, b"garbage")
    else:
        await js.delete_msg("OBJ_bodies", (await js.get_last_msg("OBJ_bodies", chunks)).seq)

    assert await bodies.put(BODY) == name
    assert await bodies.get(name) == BODY


@pytest.mark.nats
async def test_a_body_whose_description_cannot_be_read_can_be_forgotten(nats_world):
    bodies, js = nats_world.bodies, nats_world.js
    name = await bodies.put(BODY)
    await js.publish(bodies._description(name), b"garbage", headers={"Nats-Rollup": "sub"})

    assert await bodies.forget(name, put_before=datetime.now(UTC) + timedelta(hours=1))
    assert await bodies.stored() == {}


# -- the cache of vectors --------------------------------------------------------------------------


def part():
    row = PartRow(id="1", chunk_key="k", born=1, text="a text")
    document = Document(source="docs", path="a.md", doc_key=KEY, revision=7, changed_at=NOW)
    return DocumentEnriched(document=document, batch=BATCH, generation="g1", rows=(row,))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"123",
        np.ones(3, "<f4").tobytes(),
        np.zeros(8, "<f4").tobytes(),
        np.full(8, math.nan, "<f4").tobytes(),
        np.full(8, math.inf, "<f4").tobytes(),
        b"PubAck: stream DOCS, sequence 42"[:32],
    ],
    ids=["empty", "torn", "short", "zero", "not a number", "infinite", "text"],
)
async def test_a_cached_value_that_no_model_has_made_is_encoded_again_and_replaced(world, value):
    encoder, progress = FakeEncoder(8), Progress()
    embed = Embed("g1", world.ledger, world.cache, encoder, progress)
    (right,) = await embed(part(), Delivery(1))
    (key,) = cache_keys(part(), encoder.fingerprint)
    await world.write_vector(key, value)

    (found,) = await embed(part(), Delivery(1))
    (after,) = await embed(part(), Delivery(1))

    assert found.vectors == after.vectors == right.vectors
    assert (progress.encoded, progress.cached) == (2, 1)


# -- batches, reports, sweeps ----------------------------------------------------------------------


@pytest.mark.parametrize("how", [*WAYS, "members in a list"])
async def test_a_batch_whose_note_cannot_be_read_hides_no_other(world, how):
    shelf = await world.shelf(BATCHES)
    book = BatchBook(shelf, "g1")
    other = BATCH.model_copy(update={"id": "two"})
    for batch in (BATCH, other):
        await book.announce(batch, {KEY: 7}, 0)
    name = f"open.{book.key(BATCH)}.all.0"
    good = await shelf.get(name)
    if how == "members in a list":
        raw = json.loads(zlib.decompress(good)) | {"members": [1]}
        await shelf.put(name, zlib.compress(json.dumps(raw).encode()))
    else:
        await shelf.put(name, spoilt(how, good, packed=True))

    fresh = BatchBook(shelf, "g1")
    with capture_logs() as lines:
        found = [list(await fresh.open()) for _ in range(2)]

    assert found == [[book.key(other)]] * 2
    assert [line["key"] for line in lines if line["event"] == "batch_note_unreadable"] == [name]
    await fresh.announce(BATCH, {KEY: 7}, 0)
    assert set(await fresh.open()) == {book.key(BATCH), book.key(other)}


def report(batch_id):
    return BatchReport(
        batch=BATCH.model_copy(update={"id": batch_id}),
        generation="g1",
        finished_at=NOW,
        completed_at=NOW,
        elapsed_s=1.0,
        documents=Documents(inserted=1),
    )


@pytest.mark.parametrize("how", WAYS)
async def test_a_report_that_cannot_be_read_is_none_and_hides_no_other(world, how):
    shelf = await world.shelf(BATCHES)
    history, bad, good = History(shelf), report("bad"), report("good")
    for one in (bad, good):
        await history.keep(one, [KEY])
    for name, packed in ((_done(bad.batch, "g1"), True), (_line(bad), False)):
        await shelf.put(name, spoilt(how, await shelf.get(name), packed=packed))
    await shelf.put("line.docs", b"a name of nobody's")
    await shelf.put("line.docs.b.x", b"another")

    lines, _ = await history.history()
    verdicts, _ = await history.validations(source="docs")
    assert [line.batch.id for line in lines] == ["good"]
    assert [verdict.batch for verdict in verdicts] == ["good"]
    assert await history.reports("bad") == {}
    assert (await history.reports("good"))["docs"].batch.id == "good"
    assert await history.kept(bad.batch, "g1") is None

    await History(shelf).keep(bad, [KEY])
    assert (await history.reports("bad"))["docs"].batch.id == "bad"


@pytest.mark.parametrize("how", [*WAYS, "no time zone"])
async def test_a_note_of_a_sweep_that_cannot_be_read_gives_way_to_the_one_before(world, how):
    shelf = await world.shelf(BATCHES)
    good = json.dumps({"at": NOW.isoformat(), "rows": 7, "audits": []}).encode()
    naive = b'{"at": "2026-01-01"}'
    await shelf.put(f"{SWEPT}g1.{1:013d}", good)
    bad = naive if how == "no time zone" else spoilt(how, good, packed=False)
    if how == "a newer schema":  # a note has no schema; one that has is read as far as it is known
        bad = naive
    await shelf.put(f"{SWEPT}g1.{2:013d}", bad)

    async def no():
        return False

    sweeper = Sweeper(SimpleNamespace(generation="g1"), shelf, lambda: NOW, 60.0, no, no, no)
    assert (await sweeper.last())["rows"] == 7
    assert [note["rows"] for note in await sweeper.history()] == [7]
    assert await sweeper._since_last_s() == 0


@pytest.mark.parametrize("how", WAYS)
async def test_a_note_of_the_filled_index_that_cannot_be_read_names_no_index(world, how):
    shelf = await world.shelf(BATCHES)
    filled = Filled(None, shelf, "g1")
    await filled.note("first")
    await shelf.put(f"{PREFIX}g1", spoilt(how, b'{"first": 1}', packed=False))

    assert await filled.is_another("first")


# -- the instance ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", WAYS)
async def test_a_watched_source_whose_note_cannot_be_read_is_not_called_listed(world, how):
    shelf = await world.shelf(INSTANCE)
    good = Watched("docs", datetime.now(UTC).timestamp(), listed=True)
    await watchers.tell(shelf, good)
    bad = spoilt(how, good.encode(), packed=False)
    await shelf.put("watched.docs", bad if how != "a newer schema" else b'{"source": "docs"}')

    (told,) = await watchers.told(shelf)
    assert (told.source, told.listed) == ("docs", False)
    assert "cannot be read" in told.error
    assert not all_listed([told], good.at)

    await watchers.tell(shelf, good)
    assert await watchers.told(shelf) == [good]


@pytest.mark.parametrize("at", [math.nan, math.inf, 1e15])
async def test_a_watched_source_that_was_told_of_at_no_time_of_ours_is_silent(world, at):
    shelf = await world.shelf(INSTANCE)
    await watchers.tell(shelf, Watched("docs", at, listed=True))

    (found,) = await watchers.told(shelf)
    assert "is silent" in found.health(datetime.now(UTC).timestamp()).error


@pytest.mark.parametrize("how", WAYS)
async def test_a_generation_that_cannot_be_read_is_told_in_one_line(world, how):
    shelf = await world.shelf(INSTANCE)
    wanted = Generation("m", "f32", "f", 8, Chunking())
    await live_generation(shelf, wanted)
    good = await shelf.get(LIVE)
    bad = b'{"chunking": 7}' if how == "a newer schema" else spoilt(how, good, packed=False)
    await shelf.put(LIVE, bad)

    with pytest.raises(ConfigurationError, match="another version of instep"):
        await live_generation(shelf, wanted)


@pytest.mark.parametrize("how", [way for way in WAYS if way not in ("an object", "a newer schema")])
async def test_chunking_whose_note_cannot_be_read_has_every_document_cut_again(world, how):
    shelf = await world.shelf(INSTANCE)
    at = await append(world)
    indexed = Revision(at, "indexed", ("a" * 26,), 0.0)
    planned = revise(None, indexed, source="docs", path="a.md", now=0.0)
    await world.ledger.update(KEY, planned, expect=0)
    await world.write_record(OTHER, b"garbage")
    recut = Recut("g1", Chunking(), world.ledger, world.changes, shelf, Progress())
    await recut({"docs": SourceChunking(tokens=100)})
    before = (await world.changes.newest("docs", KEY)).sequence
    good = await shelf.get(recut._key)
    await shelf.put(recut._key, spoilt(how, good, packed=False))

    in_force = await recut({"docs": SourceChunking(tokens=100)})

    assert in_force["docs"].tokens == 100
    assert (await world.changes.newest("docs", KEY)).sequence > before
    assert await shelf.get(recut._key) == good


@pytest.mark.parametrize("how", WAYS)
async def test_versions_whose_note_cannot_be_read_have_every_document_read_again(world, how):
    shelf = await world.shelf(INSTANCE)
    at = await append(world)
    indexed = Revision(at, "indexed", ("a" * 26,), 0.0)
    planned = revise(None, indexed, source="docs", path="a.md", now=0.0)
    await world.ledger.update(KEY, planned, expect=0)
    recut = Recut("g1", Chunking(), world.ledger, world.changes, shelf, Progress())
    await recut({})
    before = (await world.changes.newest("docs", KEY)).sequence
    good = await shelf.get(recut._key)
    older = json.dumps({MADE_BY: {"markdown": 1}}).encode()
    bad = older if how == "a newer schema" else spoilt(how, good, packed=False)
    await shelf.put(recut._key, bad)

    await recut({})

    assert (await world.changes.newest("docs", KEY)).sequence > before
    assert json.loads(await shelf.get(recut._key)) == {MADE_BY: dict(VERSIONS)}


# -- troubles and dead letters ---------------------------------------------------------------------


@pytest.mark.nats
@pytest.mark.parametrize("how", WAYS)
async def test_a_note_of_trouble_that_cannot_be_read_accuses_nobody(nats_world, how):
    js = nats_world.js
    good = Trouble(killed=2).encode()
    bad = b'{"killed": 2}' if how == "a newer schema" else spoilt(how, good, packed=False)
    await js.publish("$KV.troubles.enricher_g1.7", bad)

    assert await Troubles(js, "enricher_g1").get("7") == Trouble()


@pytest.mark.nats
@pytest.mark.parametrize("how", WAYS)
async def test_a_dead_letter_that_cannot_be_read_is_listed_by_itself(nats_world, how):
    js = nats_world.js
    good = json.dumps({"document": {"source": "docs"}}).encode()
    headers = {"Dlq-Seq": "x", "Dlq-Document": "[", "Dlq-Batch": "7"}
    await js.publish("dlq.CHUNKS.embedder_g1", spoilt(how, good, packed=False), headers=headers)
    await js.publish("dlq.DOCS.enricher_g1", spoilt(how, good, packed=False))

    found = await dead_letters.letters(js)
    assert [(letter.document, letter.batch) for letter in found] == [(None, None)] * 2


@pytest.mark.nats
@pytest.mark.parametrize("number", ["9" * 5000, str(2**53), "-1"])
async def test_a_number_in_a_dead_letter_that_none_can_be_counts_as_none(nats_world, number):
    subject = f"documents.changed.docs.{KEY}"
    headers = {"Dlq-Seq": number, "Dlq-Deliveries": number, "Dlq-Subject": subject}
    await nats_world.js.publish("dlq.DOCS.enricher_g1", b"", headers=headers)

    (found,) = await dead_letters.letters(nats_world.js)
    assert (found.sequence, found.deliveries, found.document.revision) == (0, 0, 0)


@pytest.mark.parametrize("how", WAYS)
def test_an_advisory_that_cannot_be_read_is_malformed(how):
    data = spoilt(how, b'{"stream": "DOCS"}', packed=False)

    with pytest.raises(MalformedEvent):
        dead_letters.exhausted_of(SimpleNamespace(data=data))


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", WAYS)
def test_a_port_file_or_a_lock_that_cannot_be_read_names_no_instance(tmp_path, how):
    folder = DataFolder(tmp_path)
    instance = Instance(os.getpid(), "nats://x", None, NOW.isoformat(), "0.1.0")
    port_file = tmp_path / "instance.json"
    with folder.lock():
        folder.announce(instance)
        good = port_file.read_bytes()
        port_file.write_bytes(spoilt(how, good, packed=False))
        assert folder.read_instance() is None
        port_file.write_bytes(good)
        (tmp_path / "lock").write_bytes(spoilt(how, b'{"pid": 1}', packed=False))
        assert folder.read_instance() is None
        with pytest.raises(ConfigurationError, match="is in use"), DataFolder(tmp_path).lock():
            pass
    (tmp_path / "lock").write_bytes(b'{"watching": 7}')
    with folder.lock():
        folder.announce(instance)
        assert folder.read_instance() == instance


@pytest.mark.parametrize("how", WAYS)
def test_a_mark_of_an_original_that_cannot_be_read_is_none(tmp_path, how):
    mark_original(tmp_path)
    mark = tmp_path / "origin.json"
    mark.write_bytes(spoilt(how, mark.read_bytes(), packed=False))

    assert not is_original(tmp_path)
    mark_original(tmp_path)
    assert is_original(tmp_path)
