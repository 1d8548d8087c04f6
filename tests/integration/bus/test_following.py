"""The gateway's index of the ledger, fed by a real server that stops, forgets and begins anew."""

import asyncio
import contextlib
import random

import ledger_reading as reading
import nats
import pytest
from nats.js.errors import NotFoundError

from services.gateway.documents import documents
from services.gateway.status.snapshots import LedgerWatch
from shared.bus.admin.configs import bucket_config
from shared.bus.admin.provision import ensure_stream
from shared.bus.jetstream.buckets import KvBucket
from shared.bus.jetstream.ledger import KvLedger
from shared.domain.errors import BusUnavailable
from shared.domain.ids import doc_key
from shared.domain.ordering import Failed, Reason, Revision, fail, revise, settle
from shared.domain.topology import ledger_bucket

pytestmark = pytest.mark.nats

NOW = 1_800_000_000.0
GENERATION = "gtest"
BUCKET = ledger_bucket(GENERATION).name
PATHS = [f"{folder}/{n}.md" for folder in "abc" for n in range(8)]


class World:
    """A server, the ledger on it, and one who follows it over a connection of their own."""

    def __init__(self, server, eventually):
        self.server, self.eventually = server, eventually
        self.dice = random.Random(7)
        self.seq = 0

    async def open(self):
        options = {"max_reconnect_attempts": -1, "reconnect_time_wait": 0.05}
        self.client = await nats.connect(self.server.url, **options)
        self.other = await nats.connect(self.server.url, **options)
        self.js = self.client.jetstream(timeout=5)
        await self.make()
        self.ledger = KvLedger(self.js, GENERATION)
        self.bucket = KvBucket(self.js, BUCKET)
        follower = KvLedger(self.other.jetstream(timeout=5), GENERATION)
        await self.ledger.open()
        await follower.open()
        self.watch = LedgerWatch(follower)

    async def close(self):
        await self.client.close()
        await self.other.close()

    async def make(self):
        await ensure_stream(self.js, bucket_config(ledger_bucket(GENERATION)))

    async def write(self):
        self.seq += 1
        path = self.dice.choice(PATHS)
        key = doc_key("docs", path)
        entry = await self.ledger.get(key)
        record = entry.record if entry else None
        outcome = self.dice.choice(["indexed", "indexed", "refused", "removed"])
        keys = ("a" * 26,) if outcome == "indexed" else ()
        reason = Reason("empty", "it is empty") if outcome == "refused" else None
        wanted = Revision(self.seq, outcome, keys, changed_at=NOW - self.seq, reason=reason)
        record = revise(record, wanted, source="docs", path=path, now=NOW)
        match self.dice.randrange(3):
            case 0:
                record = settle(record, now=NOW)
            case 1:
                failed = Failed(self.seq, "index", Reason("store_error", "down"))
                record = fail(record, failed, source="docs", path=path)
        await self.ledger.update(key, record, expect=entry.at if entry else 0)

    async def delete(self):
        """As the `nats` tool does: a marker stays."""
        subject = f"$KV.{BUCKET}.{doc_key('docs', self.dice.choice(PATHS))}"
        await self.js.publish(subject, b"", headers={"KV-Operation": "DEL"})

    async def garbage(self):
        await self.js.publish(f"$KV.{BUCKET}.{doc_key('docs', 'a/0.md')}", b"{")
        await self.js.publish(f"$KV.{BUCKET}.other", b"{")

    async def purge(self):
        """Nothing tells of it."""
        await self.bucket.erase(doc_key("docs", self.dice.choice(PATHS)))

    async def purge_newest(self):
        await self.write()
        newest = await self.js.get_msg(f"KV_{BUCKET}", (await self.state()).last_seq)
        await self.js.purge_stream(f"KV_{BUCKET}", subject=newest.subject)

    async def purge_all(self):
        await self.js.purge_stream(f"KV_{BUCKET}")

    async def make_anew(self):
        await self.js.delete_stream(f"KV_{BUCKET}")
        streams, name = self.server.streams, f"KV_{BUCKET}"
        gone = streams / name, streams / f".{name}"
        await self.eventually(lambda: not any(folder.exists() for folder in gone))
        await self.make()

    async def restart(self):
        self.server.kill()
        await self.start()

    async def start(self):
        before = [client.stats["reconnects"] for client in (self.client, self.other)]
        self.server.start()
        for client, count in zip((self.client, self.other), before, strict=True):
            await self.eventually(
                lambda c=client, n=count: c.stats["reconnects"] > n and c.is_connected
            )

    async def lose(self):
        """Messages are delivered to one who is not there to take them."""
        feed = self.watch._feed
        if feed is not None:
            await self.write()
            consumer = feed._bucket._reader._consumer
            subject = f"$JS.API.CONSUMER.MSG.NEXT.KV_{BUCKET}.{consumer}"
            lost = await self.client.subscribe(inbox := self.client.new_inbox())
            await self.client.publish(subject, b"", reply=inbox)
            await lost.next_msg(timeout=60)
            await lost.unsubscribe()
            await self.write()

    async def forget(self):
        """The server forgets the consumer, as after a long silence."""
        feed = self.watch._feed
        if feed is not None:
            with contextlib.suppress(NotFoundError):  # it has already
                await self.js.delete_consumer(f"KV_{BUCKET}", feed._bucket._reader._consumer)

    async def state(self):
        return (await self.js.stream_info(f"KV_{BUCKET}")).state

    async def compare(self):
        """JetStream counts what waits for a consumer a moment late, so both readings may lag."""
        await self.eventually(self.agrees)

    async def agrees(self):
        index = await self.watch.current()
        keys = [doc_key("docs", path) for path in PATHS]
        asked = [await self.watch.records(keys), await self.ledger.get_many(keys)]
        records = {key: record async for key, record in self.ledger.entries()}
        found, total, more = index.page(limit=99)
        lines = [documents.line(one).model_dump() for one in found]
        return (
            index.board(NOW) == reading.board(records, NOW)
            and (lines, total, more) == reading.page(records, limit=99)
            and asked[0] == asked[1]
        )  # fmt: skip


@pytest.fixture
async def world(own_nats_server, eventually):
    world = World(own_nats_server, eventually)
    await world.open()
    yield world
    await world.close()


ODD = ["delete", "garbage", "purge", "purge_newest", "purge_all", "make_anew", "restart", "lose"]


@pytest.mark.parametrize("what", [*ODD, "forget"])
async def test_the_index_is_as_the_ledger_after(what, world):
    for _ in range(40):
        await world.write()
    await world.compare()
    for _ in range(3):
        await getattr(world, what)()
        await world.compare()
        await world.write()
        await world.compare()


@pytest.mark.parametrize("seed", range(3))
async def test_after_a_random_history_on_a_server_the_index_is_as_the_ledger(seed, world):
    world.dice.seed(seed)
    for _ in range(150):
        step = world.dice.choice(["write"] * 20 + ["purge", "compare", "compare", *ODD, "forget"])
        await getattr(world, step)()
    await world.compare()


async def test_a_server_that_is_away_is_told_and_then_the_index_is_right_again(world):
    await world.write()
    await world.compare()
    world.server.kill()
    with pytest.raises(BusUnavailable):
        await asyncio.wait_for(world.watch.current(), 60)
    await world.start()
    await world.write()

    await world.compare()


async def test_a_record_is_never_older_than_the_last_one_that_was_written(world):
    for _ in range(40):
        await world.write()
    await world.watch.current()
    keys = [doc_key("docs", path) for path in PATHS]
    for _ in range(200):
        await world.write()

        assert await world.watch.records(keys) == await world.ledger.get_many(keys)


async def test_following_reads_only_what_has_changed(world):
    for _ in range(40):
        await world.write()
    index = await world.watch.current()
    for _ in range(20):
        await world.write()
        await world.compare()

    assert await world.watch.current() is index


async def test_a_reading_ends_though_there_is_always_one_more_change(world):
    await world.write()
    feed = await world.ledger.follow()
    pages = 0
    while await feed.more():
        await world.write()
        pages += 1

        assert pages < 9
    assert pages
    assert (await feed.state(0)).is_current  # of the moment at which the reading began
    assert await feed.more()


async def test_a_reading_that_found_nothing_is_not_of_what_was_written_after_it(world):
    await world.write()
    feed = await world.ledger.follow()
    while await feed.more():
        pass
    assert (await feed.state(0)).is_current
    assert not await feed.more()
    assert (await feed.state(0)).is_current
    await world.write()

    assert not (await feed.state(0)).is_current
