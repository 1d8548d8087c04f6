"""Folders that one process watches, asked about by another, over a real nats-server."""

import asyncio
import contextlib
from datetime import UTC, datetime
from functools import partial

import nats
import pytest
from nats.errors import NoRespondersError
from watched import SOURCE, Watched

from services.producer.publish_status import TellFolders
from services.producer.removals.holds import FolderHolds
from shared.bus.admin.provision import provision
from shared.bus.jetstream.kv import KvShelf
from shared.bus.monitor import watchers
from shared.bus.monitor.watchers import RemoteWatchers
from shared.domain.errors import TransientError
from shared.domain.topology import INSTANCE
from shared.ports import Audit


@pytest.fixture
async def elsewhere(js, nats_url):
    """Another process: a connection of its own, and no folder."""
    await provision(js, generation="g1")
    client = await nats.connect(nats_url)
    yield RemoteWatchers(client, KvShelf(client.jetstream(), INSTANCE.name))
    await client.close()


@pytest.fixture
async def docs(tmp_path):
    docs = Watched(tmp_path / "docs", poll=0.05)
    for n in range(30):
        docs.write(f"{'some/' if n < 25 else ''}{n:02}.md", str(n))
    await docs.once()
    await docs.settle()
    return docs


async def answers(client):
    """Until the process hears questions."""
    while True:
        with contextlib.suppress(NoRespondersError):
            await client.request(f"{watchers.PREFIX}.audit.{SOURCE}", b'{"dry_run": true}', 60)
            return
        await asyncio.sleep(0)


async def gone(client):
    """Until the server has noticed that nobody hears questions any more."""
    while True:
        try:
            await client.request(f"{watchers.PREFIX}.audit.{SOURCE}", b"{}", 0.2)
        except NoRespondersError:
            return
        except TimeoutError:
            continue


@contextlib.asynccontextmanager
async def served(docs, js, nats_url):
    """The process that watches: it tells, and answers."""
    client = await nats.connect(nats_url)
    async with docs.running() as watch:
        tell = TellFolders(
            {SOURCE: (watch, docs.progress.sources[SOURCE])},
            partial(watchers.tell, KvShelf(client.jetstream(), INSTANCE.name)),
            lambda: datetime.now(UTC),
        )
        holds = FolderHolds({SOURCE: watch})
        answering = asyncio.create_task(
            watchers.serve(client, [SOURCE], holds, lambda _: docs.audit)
        )
        await answers(client)
        try:
            yield tell
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
            await client.close()


async def test_what_is_held_is_seen_and_released_from_another_process(
    docs, js, nats_url, elsewhere, tmp_path, eventually
):
    (docs.root / "some").rename(tmp_path / "gone")
    async with served(docs, js, nats_url) as tell:
        await eventually(lambda: docs.progress.held == 25)
        await tell.look()
        (hold,) = await elsewhere.list()
        kept = await elsewhere.keep(SOURCE)
        await tell.look()
        (then,) = await elsewhere.list()
        released = await elsewhere.release(SOURCE)
        await tell.look()
        left = await elsewhere.list()

    assert (hold.vanished, hold.of, hold.kept) == (25, 30, False)
    assert (kept, then.kept, released, list(left)) == (25, True, 25, [])


async def test_an_audit_is_made_where_the_folder_is(docs, js, nats_url, elsewhere):
    async with served(docs, js, nats_url) as tell:
        await tell.look()
        (found,) = await elsewhere(dry_run=True)

    assert found == Audit(SOURCE, files=30)


async def test_when_nobody_watches_it_is_said_at_once_and_nothing_is_done(
    docs, js, nats_url, elsewhere
):
    async with served(docs, js, nats_url) as tell:
        await tell.look()
    await gone(elsewhere.client)
    with pytest.raises(TransientError, match="no process watches docs"):
        await elsewhere.release(SOURCE)
    (audit,) = await elsewhere()

    assert "no process watches" in audit.error


async def test_a_fault_is_answered_and_the_next_question_is_heard(docs, js, nats_url, elsewhere):
    async with served(docs, js, nats_url) as tell:
        await tell.look()
        reply = await elsewhere.client.request(f"instep.sources.release.{SOURCE}", b"no JSON", 60)
        (found,) = await elsewhere(dry_run=True)

    assert b"a fault of instep" in reply.data
    assert found.files == 30


async def test_only_news_is_told(docs, js, nats_url, elsewhere):
    async with served(docs, js, nats_url) as tell:
        await tell.look()
        before = await js.stream_info("KV_instance")
        await tell.look()
        after = await js.stream_info("KV_instance")

    assert after.state.last_seq == before.state.last_seq
