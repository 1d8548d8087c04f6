"""What every ledger promises, the plain one in memory and the one on a real server."""

import asyncio
import contextlib
from base64 import b32encode
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256

import nats
import pytest
from memory_ledger import MemoryLedger
from nats.js.api import StreamConfig
from subscribing import in_place

from shared.bus.admin.configs import bucket_config
from shared.bus.admin.provision import ensure_stream
from shared.bus.jetstream import buckets, reading
from shared.bus.jetstream.ledger import KvLedger
from shared.domain.codecs.record_codec import to_bytes
from shared.domain.errors import BusUnavailable, ConfigurationError, LedgerConflict, PermanentError
from shared.domain.ids import doc_key
from shared.domain.ordering import (
    MAX_ROWS,
    Failed,
    Pending,
    Reason,
    Record,
    Revision,
    RowRef,
    Settled,
    revise,
    settle,
)
from shared.domain.topology import MAX_MESSAGE_BYTES, ledger_bucket
from shared.ports import Ledger

KEY, OTHER = doc_key("docs", "a.md"), doc_key("docs", "b.md")


async def memory(request: pytest.FixtureRequest) -> Ledger:
    return MemoryLedger()


async def kv(request: pytest.FixtureRequest, *, direct: bool = False) -> Ledger:
    js, make_bucket = request.getfixturevalue("js"), request.getfixturevalue("make_bucket")
    await make_bucket(replace(ledger_bucket("gtest"), direct=direct))
    ledger = KvLedger(js, "gtest")
    await ledger.open()
    return ledger


async def kv_direct(request: pytest.FixtureRequest) -> Ledger:
    return await kv(request, direct=True)


@pytest.fixture(
    params=[
        memory,
        pytest.param(kv, marks=pytest.mark.nats),
        pytest.param(kv_direct, marks=pytest.mark.nats),
    ],
    ids=lambda make: make.__name__,
)
def make(request: pytest.FixtureRequest, event_loop_fixtures: None):
    return request.param


@pytest.fixture
def event_loop_fixtures(request: pytest.FixtureRequest) -> None:
    """Async fixtures must be set up before a loop runs; memory needs none."""
    if request.node.callspec.params["make"] is not memory:
        request.getfixturevalue("js")
        request.getfixturevalue("make_bucket")


@pytest.fixture
async def ledger(make, request: pytest.FixtureRequest) -> Ledger:
    return await make(request)


def key_of(name: str) -> str:
    return b32encode(sha256(name.encode()).digest()[:16]).decode().rstrip("=").lower()


def a_record(path: str = "a.md", seq: int = 1, chunks: int = 2) -> Record:
    keys = tuple(key_of(str(n)) for n in range(chunks))
    revision = Revision(seq=seq, outcome="indexed", keys=keys, changed_at=1.0)
    return revise(None, revision, source="docs", path=path, now=2.0)


def the_largest_record() -> Record:
    """Two versions of a document of MAX_ROWS rows, two borns each, all still to be written."""
    keys = [key_of(str(n)) for n in range(MAX_ROWS)]
    born = 2**53 - 10

    def rows(shift: int) -> tuple[RowRef, ...]:
        return tuple(RowRef(key, born + shift + n % 2) for n, key in enumerate(keys))

    reason = Reason("too_many_rows", "é" * 200)
    old = Settled(born + 1, "refused", rows(0), 1.7e9, 1.7e9, reason, inserted=MAX_ROWS)
    new = Pending(born + 3, "refused", rows(2), frozenset(rows(2)), 1.7e9, 1.7e9, reason)
    path = "\u6587" * 341
    return Record("s" * 40, path, old, new, Failed(born + 3, "embed", reason), 2**53 - 1)


async def test_a_document_that_nobody_wrote_has_no_record(ledger: Ledger):
    assert await ledger.get(KEY) is None


async def test_get_after_update_sees_it(ledger: Ledger):
    first = await ledger.update(KEY, a_record(seq=1), expect=0)
    second = await ledger.update(KEY, a_record(seq=2), expect=first)
    entry = await ledger.get(KEY)

    assert entry is not None
    assert (entry.record, entry.at) == (a_record(seq=2), second)
    assert second > first > 0


@pytest.mark.parametrize("wrong", [-1, 1])
async def test_a_wrong_expectation_changes_nothing(ledger: Ledger, wrong: int):
    at = await ledger.update(KEY, a_record(seq=1), expect=0)
    with pytest.raises(LedgerConflict):
        await ledger.update(KEY, a_record(seq=2), expect=at + wrong)
    entry = await ledger.get(KEY)

    assert entry is not None
    assert (entry.record, entry.at) == (a_record(seq=1), at)


async def test_a_record_that_exists_cannot_be_made_again(ledger: Ledger):
    await ledger.update(KEY, a_record(seq=1), expect=0)

    with pytest.raises(LedgerConflict):
        await ledger.update(KEY, a_record(seq=2), expect=0)


async def test_a_record_that_is_absent_cannot_be_changed(ledger: Ledger):
    with pytest.raises(LedgerConflict):
        await ledger.update(KEY, a_record(), expect=7)

    assert await ledger.get(KEY) is None


async def test_of_many_updates_at_one_revision_exactly_one_wins(ledger: Ledger):
    at = await ledger.update(KEY, a_record(seq=1), expect=0)
    results = await asyncio.gather(
        *(ledger.update(KEY, a_record(seq=seq), expect=at) for seq in range(2, 18)),
        return_exceptions=True,
    )
    won = [seq for seq, result in enumerate(results, start=2) if isinstance(result, int)]
    entry = await ledger.get(KEY)

    assert len(won) == 1
    assert sum(isinstance(result, LedgerConflict) for result in results) == 15
    assert entry is not None
    assert entry.record == a_record(seq=won[0])


async def test_increments_by_compare_and_set_are_never_lost(ledger: Ledger):
    await ledger.update(KEY, a_record(seq=0), expect=0)

    async def increment() -> None:
        while True:
            entry = await ledger.get(KEY)
            assert entry is not None
            assert entry.record.pending is not None
            grown = a_record(seq=entry.record.pending.seq + 1)
            with contextlib.suppress(LedgerConflict):
                await ledger.update(KEY, grown, expect=entry.at)
                return

    await asyncio.gather(*(increment() for _ in range(20)))
    entry = await ledger.get(KEY)

    assert entry is not None
    assert entry.record == a_record(seq=20)


async def test_an_update_of_one_document_leaves_the_others_alone(ledger: Ledger):
    at = await ledger.update(KEY, a_record("a.md"), expect=0)
    await ledger.update(OTHER, a_record("b.md"), expect=0)

    assert await ledger.update(KEY, a_record("a.md", seq=2), expect=at) > at


async def test_the_record_of_the_largest_document_fits(ledger: Ledger):
    largest = the_largest_record()
    at = await ledger.update(KEY, largest, expect=0)
    entry = await ledger.get(KEY)

    assert entry is not None
    assert (entry.record, entry.at) == (largest, at)
    assert len(to_bytes(largest)) < MAX_MESSAGE_BYTES
    assert await ledger.get_many([KEY]) == {KEY: largest}
    assert [pair async for pair in ledger.entries()] == [(KEY, largest)]


async def test_a_record_larger_than_a_message_is_refused_for_good(ledger: Ledger):
    largest = the_largest_record()
    assert largest.settled is not None
    rows = largest.settled.rows * 4

    with pytest.raises(PermanentError):
        await ledger.update(
            KEY, replace(largest, settled=replace(largest.settled, rows=rows)), expect=0
        )


@pytest.mark.parametrize("path", ["Ünï/文書 🗂.md", "a b/c.md", 'quote".md', "x" * 1024])
async def test_paths_come_back_as_they_were(ledger: Ledger, path: str):
    record = settle(a_record(path), now=3.0)
    await ledger.update(KEY, record, expect=0)
    entry = await ledger.get(KEY)

    assert entry is not None
    assert entry.record == record


async def test_get_many_leaves_out_what_is_absent(ledger: Ledger):
    await ledger.update(KEY, a_record("a.md"), expect=0)

    assert await ledger.get_many([KEY, OTHER, KEY]) == {KEY: a_record("a.md")}
    assert await ledger.get_many([OTHER]) == {}
    assert await ledger.get_many([]) == {}


async def test_get_many_takes_more_keys_than_the_server_answers_at_once(ledger: Ledger):
    names = [f"{n}.md" for n in range(1100)]
    keys = {doc_key("docs", name): name for name in names}
    await fill(ledger, keys)
    found = await ledger.get_many(keys)

    assert {key: record.path for key, record in found.items()} == keys


async def test_get_many_misses_nothing_while_records_change(ledger: Ledger):
    keys = {doc_key("docs", f"{n}.md"): f"{n}.md" for n in range(20)}
    await fill(ledger, keys)
    stop = asyncio.Event()
    task = asyncio.create_task(keep_changing(ledger, list(keys), stop))
    counts = {len(await ledger.get_many(keys)) for _ in range(60)}
    stop.set()
    await task

    assert counts == {20}


async def test_entries_of_an_empty_ledger_end(ledger: Ledger):
    assert [pair async for pair in ledger.entries()] == []


async def test_entries_are_complete(ledger: Ledger):
    keys = {doc_key("docs", f"{n}.md"): f"{n}.md" for n in range(2300)}
    await fill(ledger, keys)
    pairs = [pair async for pair in ledger.entries()]

    assert len(pairs) == 2300
    assert {key: record.path for key, record in pairs} == keys


async def test_entries_hold_every_document_once_while_records_change(ledger: Ledger):
    keys = {doc_key("docs", f"{n}.md"): f"{n}.md" for n in range(1500)}
    await fill(ledger, keys)
    stop = asyncio.Event()
    task = asyncio.create_task(keep_changing(ledger, list(keys), stop))
    rounds = [sorted([key async for key, _ in ledger.entries()]) for _ in range(3)]
    stop.set()
    await task

    assert rounds == [sorted(keys)] * 3


async def test_entries_may_be_left_early(ledger: Ledger):
    await fill(ledger, {KEY: "a.md", OTHER: "b.md"})
    entries = ledger.entries()
    async for _ in entries:
        break
    if isinstance(entries, AsyncIterator) and hasattr(entries, "aclose"):
        await entries.aclose()

    assert len([pair async for pair in ledger.entries()]) == 2


async def fill(ledger: Ledger, paths: dict[str, str]) -> None:
    slots = asyncio.Semaphore(64)

    async def add(key: str, path: str) -> None:
        async with slots:
            await ledger.update(key, a_record(path), expect=0)

    await asyncio.gather(*(add(key, path) for key, path in paths.items()))


async def keep_changing(ledger: Ledger, keys: list[str], stop: asyncio.Event) -> None:
    seq = 1
    while not stop.is_set():
        seq += 1
        for key in keys:
            entry = await ledger.get(key)
            assert entry is not None
            await ledger.update(key, replace(entry.record, version=seq), expect=entry.at)
            if stop.is_set():
                break
            await asyncio.sleep(0)


# -- the real server alone -------------------------------------------------------------------------


@pytest.fixture
async def kv_ledger(request: pytest.FixtureRequest, js, make_bucket) -> KvLedger:
    await make_bucket(ledger_bucket("gtest"))
    ledger = KvLedger(js, "gtest")
    await ledger.open()
    return ledger


@pytest.mark.nats
@pytest.mark.parametrize("direct", [False, True])
async def test_a_page_that_is_full_of_bytes_is_followed_by_the_next(
    js, make_bucket, monkeypatch, direct: bool
):
    await make_bucket(replace(ledger_bucket("gtest"), direct=direct))
    ledger = KvLedger(js, "gtest")
    await ledger.open()
    wanted = {doc_key("docs", f"{n}.md"): f"{n}.md" for n in range(40)}
    await fill(ledger, wanted)
    monkeypatch.setattr(buckets, "PAGE_BYTES", 2000)
    monkeypatch.setattr(reading, "PAGE_BYTES", 2000)
    entries = {key: record.path async for key, record in ledger.entries()}
    many = await ledger.get_many(wanted)

    assert entries == wanted
    assert {key: record.path for key, record in many.items()} == wanted


@pytest.mark.nats
async def test_a_bucket_made_anew_never_counts_below_the_old_one(
    kv_ledger, delete_stream, make_bucket
):
    ats = [await kv_ledger.update(KEY, a_record(), expect=0)]
    for seq in range(2, 30):
        ats.append(await kv_ledger.update(KEY, a_record(seq=seq), expect=ats[-1]))
    await delete_stream("KV_ledger_gtest")
    await make_bucket(ledger_bucket("gtest"))
    again = await kv_ledger.update(KEY, a_record(), expect=0)

    assert again > max(ats)
    with pytest.raises(LedgerConflict):
        await kv_ledger.update(KEY, a_record(seq=3), expect=ats[-1])


@pytest.mark.nats
async def test_a_ledger_that_is_gone_is_not_taken_for_an_empty_one(kv_ledger, delete_stream):
    await delete_stream("KV_ledger_gtest")

    with pytest.raises(BusUnavailable):
        await kv_ledger.get(KEY)
    with pytest.raises(BusUnavailable):
        await kv_ledger.get_many([KEY])
    with pytest.raises(BusUnavailable):
        [pair async for pair in kv_ledger.entries()]
    with pytest.raises(BusUnavailable):
        await kv_ledger.update(KEY, a_record(), expect=0)


@pytest.mark.nats
async def test_a_bucket_that_was_not_provisioned_is_named(js):
    with pytest.raises(ConfigurationError, match="ledger_gnone"):
        await KvLedger(js, "gnone").open()


@pytest.mark.nats
async def test_a_key_that_somebody_deleted_is_absent_and_can_be_made_again(kv_ledger, js):
    await kv_ledger.update(KEY, a_record(), expect=0)
    bucket = await js.key_value("ledger_gtest")
    await bucket.delete(KEY)

    assert await kv_ledger.get(KEY) is None
    assert await kv_ledger.get_many([KEY]) == {}
    assert [pair async for pair in kv_ledger.entries()] == []
    assert await kv_ledger.update(KEY, a_record(seq=2), expect=0) > 0
    with pytest.raises(LedgerConflict):
        await kv_ledger.update(KEY, a_record(seq=3), expect=0)


@pytest.mark.nats
async def test_something_that_is_no_record_hides_no_other_document(kv_ledger, js):
    await kv_ledger.update(KEY, a_record(), expect=0)
    await js.publish(f"$KV.ledger_gtest.{OTHER}", b'{"schema": 1}')

    found = {key: record async for key, record in kv_ledger.entries()}
    assert found == {KEY: a_record(), OTHER: None}
    assert list(await kv_ledger.get_many([KEY, OTHER])) == [KEY]
    assert await kv_ledger.get(OTHER) is None


@pytest.mark.nats
@pytest.mark.parametrize(
    "junk", [b"", b"not JSON", b'{"schema": 1}', b"[]", b"17", b'"text"', b"[" * 100_000]
)
async def test_something_that_is_no_record_is_replaced_by_one(kv_ledger, js, junk):
    await js.publish(f"$KV.ledger_gtest.{KEY}", junk)
    at = await kv_ledger.update(KEY, a_record(), expect=0)
    entry = await kv_ledger.get(KEY)

    assert entry is not None
    assert (entry.record, entry.at) == (a_record(), at)
    with pytest.raises(LedgerConflict):
        await kv_ledger.update(KEY, a_record(seq=2), expect=0)


@pytest.mark.nats
async def test_a_full_bucket_is_a_transient_failure(js, make_bucket):
    await make_bucket(ledger_bucket("gtest"))
    info = await js.stream_info("KV_ledger_gtest")
    info.config.max_bytes = 4096
    await js.update_stream(info.config)
    ledger = KvLedger(js, "gtest")

    with pytest.raises(BusUnavailable):
        await ledger.update(KEY, a_record(chunks=1000), expect=0)


@pytest.mark.nats
async def test_no_reading_leaves_a_consumer_behind(kv_ledger, js):
    await fill(kv_ledger, {KEY: "a.md", OTHER: "b.md"})
    _ = [pair async for pair in kv_ledger.entries()]

    assert (await js.stream_info("KV_ledger_gtest")).state.consumer_count == 0


@pytest.mark.nats
async def test_without_a_server_nothing_is_known_and_afterwards_a_read_tells(own_nats_server):
    client = await nats.connect(
        own_nats_server.url, reconnect_time_wait=0.01, max_reconnect_attempts=-1, error_cb=ignore
    )
    js = client.jetstream(timeout=60)
    await js.add_stream(StreamConfig(name="KV_ledger_gtest", subjects=["$KV.ledger_gtest.>"]))
    ledger, hasty = KvLedger(js, "gtest"), KvLedger(client.jetstream(timeout=0.2), "gtest")
    at = await ledger.update(KEY, a_record(), expect=0)
    own_nats_server.kill()
    for call in (hasty.get(KEY), hasty.update(KEY, a_record(seq=2), expect=at)):
        with pytest.raises(BusUnavailable):
            await call
    own_nats_server.start()
    entry = None
    while entry is None:
        with contextlib.suppress(BusUnavailable):
            entry = await ledger.get(KEY)
    await client.close()

    assert entry.record in (a_record(), a_record(seq=2))
    assert (entry.at == at) == (entry.record == a_record())


@pytest.mark.nats
async def test_the_newer_acknowledgement_format_changes_nothing(own_nats_server):
    own_nats_server.stop()
    own_nats_server.extra = "feature_flags { js_ack_fc_v2: true }"
    own_nats_server.start()
    client = await nats.connect(own_nats_server.url)
    js = client.jetstream()
    await ensure_stream(js, bucket_config(ledger_bucket("gtest")))
    ledger = KvLedger(js, "gtest")
    await fill(ledger, {KEY: "a.md", OTHER: "b.md"})
    found = dict([pair async for pair in ledger.entries()])
    await client.close()

    assert found == {KEY: a_record("a.md"), OTHER: a_record("b.md")}


async def ignore(error: Exception) -> None:
    """Reconnecting is what the test is about."""


@pytest.mark.nats
async def test_a_record_that_is_decided_by_is_read_from_the_leader(kv_ledger, nats_url):
    """Any replica answers a direct read, one that lags too; only a reading of many may be one."""
    await kv_ledger.update(KEY, a_record(), expect=0)
    direct = []

    async def overhear(message):
        direct.append(message.subject)

    client = await nats.connect(nats_url)
    await client.subscribe("$JS.API.DIRECT.GET.>", cb=overhear)
    await in_place(client)
    await kv_ledger.get(KEY)
    await client.flush()
    of_one = list(direct)
    await kv_ledger.get_many([KEY])
    await client.flush()
    await client.close()

    assert of_one == []
    assert direct == ["$JS.API.DIRECT.GET.KV_ledger_gtest"]
