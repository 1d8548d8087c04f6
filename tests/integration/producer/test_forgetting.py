"""A source that is not watched any more: all of its documents leave the index."""

import asyncio
import contextlib
from functools import partial

import nats
import pytest
from watched import SOURCE, Watched

from services.producer.accept import AcceptFile
from services.producer.removals.forget import ForgetSource
from services.producer.removals.holds import WatchedHolds
from services.producer.sources import listing
from shared.bus.admin.provision import provision
from shared.bus.jetstream.kv import KvShelf
from shared.bus.monitor import watchers
from shared.bus.monitor.watchers import Watchers
from shared.domain.errors import BusUnavailable, TransientError
from shared.domain.events import Batch
from shared.domain.topology import INSTANCE


@pytest.fixture
async def docs(tmp_path, monkeypatch):
    """30 documents that were indexed; no process watches them any more.

    Their files are at rest: what a listing lists is not read again.
    """
    monkeypatch.setattr(listing, "RACY_NS", 0)
    docs = Watched(tmp_path / "docs")
    for n in range(30):
        docs.write(f"{n:02}.md", str(n))
    await docs.once()
    await docs.settle()
    return docs


def forget(docs, **others):
    now = docs.build()._sync.now
    parts = {"changes": docs.log, "watched": (), **others}
    return ForgetSource(
        ledger=docs.ledger,
        bodies=docs.bodies,
        batches=docs.batches,
        listings=docs.listings,
        now=now,
        **parts,
    )


async def test_all_documents_go_and_their_folder_may_come_back(docs):
    removed = await forget(docs)(SOURCE)
    after = docs.held()
    await docs.settle()
    again = await forget(docs)(SOURCE)
    await docs.once()

    assert (removed, after, again) == (30, {}, 0)
    assert len(docs.held()) == 30


async def test_one_batch_tells_of_all_removals(docs):
    before = set(await docs.batches.open())
    await forget(docs)(SOURCE)
    (new,) = [b for key, b in (await docs.batches.open()).items() if key not in before]

    assert (len(new.members), new.batch.count, new.whole) == (30, 30, True)


@pytest.mark.parametrize("after", [0, 1, 7, 29])
async def test_whatever_kills_it_the_next_call_goes_on(docs, after):
    class Dying:
        left = after

        def __getattr__(self, name):
            return getattr(docs.log, name)

        async def append(self, change, *, expect, message_id):
            if self.left == 0:
                raise BusUnavailable("killed")
            self.left -= 1
            return await docs.log.append(change, expect=expect, message_id=message_id)

    with pytest.raises(BusUnavailable):
        await forget(docs, changes=Dying())(SOURCE)
    between = len(docs.held())
    removed = await forget(docs)(SOURCE)

    assert (between, removed, docs.held()) == (30 - after, 30 - after, {})


async def test_a_folder_that_is_given_again_after_a_kill_has_all_of_its_documents(docs):
    class Dead:
        def __getattr__(self, name):
            return getattr(docs.log, name)

        async def append(self, change, *, expect, message_id):
            if len(docs.held()) <= 20:
                raise BusUnavailable("killed")
            return await docs.log.append(change, expect=expect, message_id=message_id)

    with pytest.raises(BusUnavailable):
        await forget(docs, changes=Dead())(SOURCE)
    between = len(docs.held())
    (docs.root / "00.md").unlink()
    (docs.root / "29.md").unlink()
    await docs.once()

    assert between == 20
    assert sorted(docs.held()) == [f"{n:02}.md" for n in range(1, 29)]


async def test_other_sources_and_what_has_ended_stay_as_they_are(docs):
    (docs.root / "00.md").unlink()
    await docs.once()
    await docs.settle()
    now = docs.build()._sync.now
    other = AcceptFile("other", docs.log, docs.bodies, now)
    batch = Batch(id="b", count=1, source="other", started_at=now())
    await other("a.md", partial(asyncio.to_thread, _body, docs), batch, known=False)
    before = len(docs.log.appended)
    removed = await forget(docs)(SOURCE)

    assert (removed, len(docs.log.appended) - before) == (29, 29)
    assert docs.held() == {"a.md": "1"}


def _body(docs):
    return docs.build()._sync.source.read("01.md")


async def test_a_watched_source_is_refused_and_loses_nothing(docs):
    with pytest.raises(TransientError, match="docs is watched"):
        await forget(docs, watched={SOURCE})(SOURCE)

    assert len(docs.held()) == 30


@pytest.fixture
async def elsewhere(js, nats_url):
    await provision(js, generation="g1")
    client = await nats.connect(nats_url)
    yield Watchers(client, KvShelf(client.jetstream(), INSTANCE.name))
    await client.close()


async def test_one_of_the_producers_does_it_for_another_process(docs, elsewhere, nats_url):
    asked = []

    async def forgetting(source):
        asked.append(source)
        return await forget(docs)(source)

    client = await nats.connect(nats_url)
    serving = [
        asyncio.create_task(
            watchers.serve(
                client, [], WatchedHolds({}, forgetting), lambda _: None, _nothing, _nothing
            )
        )
        for _ in range(2)
    ]
    await client.flush()
    try:
        while True:
            with contextlib.suppress(TransientError):
                removed = await elsewhere.forget(SOURCE)
                break
    finally:
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await client.close()

    assert (removed, asked, docs.held()) == (30, [SOURCE], {})


async def test_without_a_producer_it_is_said_at_once(elsewhere):
    with pytest.raises(TransientError, match="no producer runs"):
        await elsewhere.forget(SOURCE)


async def _nothing():
    pass
