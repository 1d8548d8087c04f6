"""What the server refuses a key, and that it is said at once."""

import asyncio
import gc
import re
from pathlib import Path

import nats
import pytest

from services.host.runtime import Connection, Shutdown, wired
from services.host.startup import provisioned
from shared.bus.access.denials import watch
from shared.bus.admin.provision import ask
from shared.bus.jetstream.buckets import KvBucket
from shared.bus.jetstream.change_log import JetChangeLog
from shared.bus.jetstream.ledger import KvLedger
from shared.bus.jetstream.publish import Outgoing, store
from shared.domain.errors import ConfigurationError
from shared.domain.topology import embed_stage, ledger_bucket
from shared.observe.progress import Progress

PUBLISHING = (Path(__file__).parents[3] / "docs/publish-from-your-system.md").read_text()
leaky = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""The client leaves connections that it gave up to the collector of garbage."""


async def live(keyed):
    """The generation that is live after `instep provision`."""
    await keyed.provision()
    async with keyed.session("admin") as admin:
        found, _ = await provisioned(admin, keyed.settings("admin"))
        return found.generation.id


def letter(subject, stream):
    return Outgoing(stream, subject, b"{}", "m1")


async def test_an_embedder_publishes_no_change_and_no_outcome(keyed):
    generation = await live(keyed)
    async with keyed.session("embedder") as session:
        for stream, subject in (
            ("DOCS", "documents.changed.docs.abc"),
            ("CHUNKS", f"documents.enriched.{generation}.docs"),
            ("RESULTS", f"documents.indexed.{generation}.docs"),
            ("VECTORS", "embeddings.ready.another.docs"),
        ):
            with pytest.raises(ConfigurationError, match=f"may not publish to {subject}"):
                await store(session.js, letter(subject, stream))
        await store(session.js, letter(f"embeddings.ready.{generation}.docs", "VECTORS"))


async def test_an_embedder_reads_no_ledger_but_its_own_and_writes_none(keyed):
    generation = await live(keyed)
    async with keyed.session("admin") as admin:
        await ask(
            admin.js,
            "STREAM.CREATE.KV_ledger_other",
            {"name": "KV_ledger_other", "subjects": ["$KV.ledger_other.>"], "allow_direct": True},
        )
    async with keyed.session("embedder") as session:
        other = KvBucket(session.js, ledger_bucket("other").name)
        other._direct = True
        own = KvBucket(session.js, ledger_bucket(generation).name)

        for attempt in (
            other.open,
            lambda: other.get("abc"),
            lambda: other.get_many(["abc"]),
            lambda: other.put("abc", b"{}"),
            lambda: own.put("abc", b"{}"),
            lambda: own.erase("abc"),
            lambda: anext(other.items()),
        ):
            with pytest.raises(ConfigurationError, match="may not"):
                await attempt()
        ledger = KvLedger(session.js, generation)
        await ledger.open()

        assert await ledger.get_many(["abc"]) == {}


@pytest.mark.parametrize("identity", ["embedder", "gateway", "validator", "publisher"])
async def test_nobody_but_the_admin_changes_streams_and_consumers(keyed, identity):
    generation = await live(keyed)
    stage = embed_stage(generation)
    async with keyed.session(identity) as session:
        for api, request in (
            ("STREAM.CREATE.MINE", {"name": "MINE", "subjects": ["mine"]}),
            ("STREAM.DELETE.DOCS", None),
            ("STREAM.PURGE.DOCS", {}),
            ("STREAM.UPDATE.DOCS", {"name": "DOCS"}),
            (f"STREAM.PURGE.KV_ledger_{generation}", {}),
            (f"CONSUMER.DELETE.CHUNKS.{stage.name}", None),
            (f"CONSUMER.DURABLE.CREATE.CHUNKS.{stage.name}", {}),
        ):
            with pytest.raises(ConfigurationError, match="may not publish"):
                await ask(session.js, api, request)
    async with keyed.session("admin") as admin:
        assert await admin.js.stream_info("DOCS")
        assert await admin.js.consumer_info("CHUNKS", stage.name)


async def test_who_may_list_a_stream_takes_no_work_from_its_stages_and_leaves_no_consumer(keyed):
    generation = await live(keyed)
    async with keyed.session("validator") as session:
        assert [found async for found in JetChangeLog(session.js).sequences()] == []
        for api in (f"MSG.NEXT.DOCS.enricher_{generation}", f"DELETE.DOCS.enricher_{generation}"):
            with pytest.raises(ConfigurationError, match="may not publish"):
                await ask(session.js, f"CONSUMER.{api}", None)
        durable = {"durable_name": "mine", "ack_policy": "none"}
        request = {"stream_name": "DOCS", "config": durable}
        with pytest.raises(ConfigurationError, match="durable"):
            await ask(session.js, "CONSUMER.CREATE.DOCS", request)


async def test_a_publisher_publishes_for_its_source_and_reads_only_its_own_receipts(keyed):
    await live(keyed)
    async with keyed.session("publisher-wiki") as session:
        ack = await store(session.js, letter("documents.submitted.wiki", "INTAKE"))
        with pytest.raises(ConfigurationError, match=r"documents\.submitted\.docs"):
            await store(session.js, letter("documents.submitted.docs", "INTAKE"))
        with pytest.raises(ConfigurationError, match="may not subscribe"):
            await listen(session.client, "_INBOX_publisher.>")

    assert ack.seq


async def test_a_program_that_connects_as_the_page_says_gets_both_answers(keyed, monkeypatch):
    await live(keyed)
    [connect] = re.findall(r"^\| Python \| `(nats\.connect.*)` \|$", PUBLISHING, re.MULTILINE)
    monkeypatch.chdir(keyed.keys)
    client = await eval(connect, {"nats": nats, "url": keyed.url})
    inbox = client.new_inbox()
    receipts = await client.subscribe(inbox)
    stored = await client.jetstream().publish(
        "documents.submitted.wiki", b"{}", headers={"Instep-Reply-To": inbox}
    )
    async with keyed.session("producer") as producer:
        await producer.client.publish(inbox, b"receipt")
        receipt = await receipts.next_msg(10)
    await client.close()

    assert (stored.stream, receipt.data) == ("INTAKE", b"receipt")


async def listen(client, subject):
    """Raises what the server says of a subscription, which it never acknowledges."""
    told = asyncio.get_running_loop().create_future()
    watch(client).listen(told.set_exception)
    await client.subscribe(subject)
    await asyncio.wait_for(told, 60)


async def test_a_service_makes_nothing_and_names_the_command_that_does(keyed):
    async with keyed.session("indexer") as session:
        with pytest.raises(ConfigurationError, match="run `instep provision`"):
            await provisioned(session, keyed.settings("indexer"))
    await live(keyed)
    async with keyed.session("admin") as admin:
        await admin.js.delete_stream("VECTORS")
    async with keyed.session("indexer") as session:
        with pytest.raises(ConfigurationError, match=r"no stream VECTORS.*instep provision"):
            await provisioned(session, keyed.settings("indexer"))
    async with keyed.session("enricher") as session:
        with pytest.raises(ConfigurationError, match="no stream VECTORS"):
            await provisioned(session, keyed.settings("enricher"))

    assert [line for line in await keyed.provision() if "VECTORS" in line]


async def test_the_key_of_another_service_ends_the_process_with_the_subject(keyed, tmp_path):
    generation = await live(keyed)
    stop = Shutdown()
    settings = keyed.settings("indexer")
    to = Connection(keyed.url, "instep embedder", "embedder")
    async with wired(settings, tmp_path, to, progress=Progress(), stop=stop) as (opened, _):

        async def handle(event, delivery):
            return ()

        opened.host.session.subscribe(embed_stage(generation), handle)
        await opened.host.session.start()
        await asyncio.wait_for(stop.event.wait(), 60)

    assert isinstance(stop.error, ConfigurationError)
    assert f"consumer.msg.next.chunks.embedder_{generation}" in str(stop.error).lower()


@leaky
async def test_a_key_that_is_taken_back_is_refused_until_it_is_known_again(keyed, eventually):
    await live(keyed)
    async with keyed.session("indexer") as session:
        before = (keyed.keys / "indexer.nk").read_text()
        (keyed.keys / "indexer.nk").unlink()
        keyed.make_keys()
        keyed.reload()
        await eventually(lambda: "authorization" in str(session.client.last_error).lower())
        assert not session.healthy()

        (keyed.keys / "indexer.nk").write_text(before)
        keyed.make_keys()
        keyed.reload()
        await eventually(session.healthy)
        assert await ask(session.js, "STREAM.INFO.VECTORS", None)
    gc.collect()


async def test_new_keys_for_some_leave_the_others_connected(keyed, eventually):
    await live(keyed)
    async with keyed.session("indexer") as session:
        (keyed.keys / "embedder.nk").unlink()
        keyed.make_keys()
        keyed.reload()
        await eventually(lambda: "Reloaded" in keyed.log)
        found = await ask(session.js, "STREAM.INFO.VECTORS", None)

    assert found


async def test_a_source_that_is_added_is_published_for_after_a_restart_of_the_server(
    keyed, eventually
):
    await live(keyed)
    async with keyed.session("indexer") as session:
        keyed.sources = ["wiki", "notes"]
        notes = keyed.make_keys()["notes"]
        keyed.stop()
        keyed.start()
        for source in keyed.sources:
            async with keyed.session(f"publisher-{source}") as publisher:
                ack = await store(publisher.js, letter(f"documents.submitted.{source}", "INTAKE"))
                assert ack.seq
        await eventually(session.healthy)

    assert [note for note in notes if "publisher-notes" in note and "restart" in note]
    assert keyed.make_keys()["notes"] == []
