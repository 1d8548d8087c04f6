"""Folders that one process watches, asked about by another, over a real nats-server."""

import asyncio
import contextlib
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import nats
import pytest
from nats.errors import NoRespondersError
from watched import SOURCE, Watched

from services.producer.publish_status import TellFolders
from services.producer.removals.holds import WatchedHolds
from shared.bus.admin.provision import provision
from shared.bus.jetstream.kv import KvShelf
from shared.bus.monitor import watchers
from shared.bus.monitor.watched import SILENT_S
from shared.bus.monitor.watched import Watched as Told
from shared.bus.monitor.watchers import Watchers
from shared.domain.errors import BusUnavailable, TransientError
from shared.domain.topology import INSTANCE
from shared.ports import Audit, Hold


@pytest.fixture
async def elsewhere(js, nats_url):
    """Another process: a connection of its own, and no folder."""
    await provision(js, generation="g1")
    client = await nats.connect(nats_url)
    yield Watchers(client, KvShelf(client.jetstream(), INSTANCE.name))
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
            {SOURCE: (watch, docs.sources[SOURCE])},
            partial(watchers.tell, KvShelf(client.jetstream(), INSTANCE.name)),
            lambda: datetime.now(UTC),
            0.0,
        )
        holds = WatchedHolds({SOURCE: watch})

        async def explain(_, path):
            return await watch.explain(path)

        async def heard():
            tell.heard = True
            await tell.look()

        answering = asyncio.create_task(
            watchers.serve(client, [SOURCE], holds, lambda _: docs.audit, heard, explain)
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
        (then,) = await elsewhere.list()
        released = await elsewhere.release(SOURCE)
        left = await elsewhere.list()

    assert (hold.vanished, hold.of, hold.kept) == (25, 30, False)
    assert (kept, then.kept, released, list(left)) == (25, True, 25, [])


async def test_what_a_source_is_and_where_it_lies_is_told_elsewhere(docs, js, nats_url, elsewhere):
    async with served(docs, js, nats_url) as tell:
        tell.folders[SOURCE][0].kind = "bucket"
        await tell.look()
        (told,) = await watchers.told(elsewhere.shelf)

    assert (told.kind, told.path) == ("bucket", str(docs.root))


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


async def test_what_is_held_is_told_at_once(docs, js, nats_url, elsewhere, tmp_path, monkeypatch):
    monkeypatch.setattr("services.producer.publish_status.LOOK_S", 3600.0)
    (docs.root / "some").rename(tmp_path / "gone")
    async with served(docs, js, nats_url) as tell:
        docs.progress.listeners.append(tell.hear)
        telling = asyncio.create_task(tell.run())
        async with asyncio.timeout(60):
            while not await elsewhere.list():
                await asyncio.sleep(0)
        telling.cancel()


async def test_a_process_that_stops_says_that_it_watches_no_more(docs, js, nats_url, elsewhere):
    async with served(docs, js, nats_url) as tell:
        telling = asyncio.create_task(tell.run())
        async with asyncio.timeout(60):
            while not await watchers.told(elsewhere.shelf):
                await asyncio.sleep(0)
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        (stopped,) = await watchers.told(elsewhere.shelf)
        (left,) = await watchers.last_told(elsewhere.shelf)
        await watchers.begin(elsewhere.shelf, [SOURCE])
        (anew,) = await watchers.told(elsewhere.shelf)

    assert stopped.health(time.time()).error == "no process watches it"
    assert (left.listed, left.error) == (True, "")
    assert not anew.ended


async def test_a_process_that_was_killed_is_missed_at_once(docs, js, nats_url, elsewhere):
    async def errors():
        told = await watchers.told(elsewhere.shelf)
        return [
            one.health(time.time()).error for one in await watchers.present(elsewhere.client, told)
        ]

    async with served(docs, js, nats_url):
        while_it_runs = await errors()
    await gone(elsewhere.client)
    killed = await errors()
    many = [Told(f"s{n}", time.time(), listed=True, heard=True) for n in range(20)]
    all_gone = await watchers.present(elsewhere.client, many)
    (noted,) = await watchers.told(elsewhere.shelf)
    await watchers.tell(elsewhere.shelf, replace(noted, heard=False))
    of_an_earlier_version = await errors()

    assert while_it_runs == [""]
    assert killed == ["no process watches it"]
    assert all(one.ended for one in all_gone)
    assert of_an_earlier_version == [""]


async def test_nothing_is_told_of_a_folder_whose_removals_are_not_known_yet(
    docs, js, nats_url, elsewhere
):
    hold = Hold(SOURCE, datetime(2026, 1, 1, tzinfo=UTC), 25, 30, ("a.md",), kept=False)
    async with served(docs, js, nats_url) as tell:
        await watchers.tell(elsewhere.shelf, Told(SOURCE, 0.0, listed=True, hold=hold))
        await watchers.begin(elsewhere.shelf, [SOURCE])
        anew = replace(tell, _told={})
        (watch, _) = tell.folders[SOURCE]
        watch.loaded = False
        await anew.look()
        before = await elsewhere.list()
        watch.loaded = True
        await anew.look()
        after = await elsewhere.list()

    assert (before, after) == ([hold], [])


async def test_a_process_that_has_died_over_a_question_is_not_waited_for(
    js, nats_url, elsewhere, monkeypatch
):
    monkeypatch.setattr(watchers, "TOLD_EVERY_S", 0.01)
    dying = await nats.connect(nats_url)

    async def hears(_):
        await watchers.tell(elsewhere.shelf, Told(SOURCE, time.time() - SILENT_S - 1, listed=True))

    await dying.subscribe(f"{watchers.PREFIX}.release.{SOURCE}", cb=hears)
    await dying.flush()
    await watchers.tell(elsewhere.shelf, Told(SOURCE, time.time(), listed=True))
    with pytest.raises(TransientError, match="docs is silent"):
        await elsewhere.release(SOURCE)
    await dying.close()


async def test_a_process_that_begins_anew_over_a_question_is_not_waited_for(
    js, nats_url, elsewhere, monkeypatch
):
    monkeypatch.setattr(watchers, "TOLD_EVERY_S", 0.01)
    dying = await nats.connect(nats_url)

    async def hears(_):
        await watchers.begin(elsewhere.shelf, [SOURCE])

    await dying.subscribe(f"{watchers.PREFIX}.release.{SOURCE}", cb=hears)
    await dying.flush()
    await watchers.begin(elsewhere.shelf, [SOURCE])
    async with asyncio.timeout(60):
        with pytest.raises(TransientError, match="docs has started anew"):
            await elsewhere.release(SOURCE)
    await dying.close()


async def test_an_answer_that_the_bus_may_have_lost_is_not_waited_for(
    js, nats_url, elsewhere, monkeypatch
):
    monkeypatch.setattr(watchers, "TOLD_EVERY_S", 0.01)
    other = await nats.connect(nats_url)

    async def hears(_):
        elsewhere.client.stats["reconnects"] += 1

    await other.subscribe(f"{watchers.PREFIX}.release.{SOURCE}", cb=hears)
    await other.flush()
    await watchers.begin(elsewhere.shelf, [SOURCE])
    async with asyncio.timeout(60):
        with pytest.raises(BusUnavailable, match="may be lost"):
            await elsewhere.release(SOURCE)
    await other.close()


async def test_a_process_that_takes_its_time_is_waited_for(js, nats_url, elsewhere, monkeypatch):
    monkeypatch.setattr(watchers, "TOLD_EVERY_S", 0.01)
    slow, looks = await nats.connect(nats_url), []
    is_silent = Watchers._is_silent

    async def looked(asked, source):
        looks.append(await is_silent(asked, source))
        return looks[-1]

    async def hears(message):
        while len(looks) < 3:
            await asyncio.sleep(0)
        await message.respond(b'{"answer": 25}')

    monkeypatch.setattr(Watchers, "_is_silent", looked)
    await slow.subscribe(f"{watchers.PREFIX}.release.{SOURCE}", cb=hears)
    await slow.flush()
    await watchers.tell(elsewhere.shelf, Told(SOURCE, time.time(), listed=True))

    assert await elsewhere.release(SOURCE) == 25
    assert not any(looks)
    await slow.close()


async def test_a_process_that_stops_says_so_to_those_that_wait_for_an_answer(
    js, nats_url, elsewhere
):
    asked = asyncio.Event()

    class Listing:
        async def release(self, source):
            asked.set()
            await asyncio.Event().wait()

    async def nothing():
        pass

    async def refusal():
        while True:
            try:
                return await elsewhere.release(SOURCE)
            except TransientError as error:
                if "no process" not in str(error):
                    return str(error)

    client = await nats.connect(nats_url)
    serving = asyncio.create_task(
        watchers.serve(client, [SOURCE], Listing(), lambda _: None, nothing, None)
    )
    asking = asyncio.create_task(refusal())
    await asked.wait()
    serving.cancel()

    assert await asking == "the process that watches it is stopping"
    await asyncio.gather(serving, return_exceptions=True)
    await client.close()


async def test_what_the_rules_leave_out_is_told(docs, js, nats_url, elsewhere):
    for path in ("node_modules/a.md", "some/b.png", "some/.hidden.md", "some/c.tmp"):
        docs.write(path, "x")
    (docs.root / "out.md").symlink_to(docs.root.parent / "elsewhere.md")
    (docs.root / "behind").symlink_to(docs.root.parent)
    docs.write(".gitignore", "secret.md\n")
    docs.write("some/secret.md", "x")
    async with served(docs, js, nats_url):
        found = {
            path: await elsewhere.explain(SOURCE, path)
            for path in ("some/00.md", "some/secret.md", "some/b.png", "some/.hidden.md", "out.md",
                         "behind/docs", "node_modules", "node_modules/a.md", "nosuch.png", "..",
                         "../docs/00.md", "some", "")
        }  # fmt: skip

    assert {path: one.why for path, one in found.items() if one.exists} == {
        "some/00.md": "",
        "some/secret.md": "ignored by line 1 of .gitignore: secret.md",
        "some/b.png": "its ending .png is not read",
        "some/.hidden.md": ".hidden.md is hidden, as its name begins with a dot",
        "out.md": "it is a link to nothing",
        "behind/docs": "it lies behind a link to a folder",
        "node_modules": "by default: node_modules/",
        "node_modules/a.md": "by default: node_modules/",
        "some": "",
        "": "",
    }
    assert found["out.md"].fix == "put back what it leads to"
    assert found["some/b.png"].fix.startswith("save it in a format that is read")
    assert found[""].counts["links not followed"] == 2
    assert found["some"].counts == {".png": 1, "ignored by .gitignore": 1}
    assert found["some"].some == {
        "some/b.png": "its ending .png is not read",
        "some/secret.md": "ignored by line 1 of .gitignore: secret.md",
    }
    assert found[""].some["node_modules/"] == "by default: node_modules/"
